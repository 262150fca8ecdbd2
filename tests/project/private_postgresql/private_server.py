"""Processes that use a private server, and a look at one from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.private_postgresql.server import PrivateServer

REPOSITORY = Path(__file__).resolve().parents[3]

# Uses the server until its standard input ends; answers every line with the server's address.
USER_PROGRAM = """
import sys
from pathlib import Path
from config.private_postgresql.server import PrivateServer

server = PrivateServer(Path(sys.argv[1]))
for _ in sys.stdin:
    print(server.socket_folder(), flush=True)
"""


class User:
    """A process that uses a private server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def request_address(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("where?\n")
        self.process.stdin.flush()

    def read_address(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def address(self) -> str:
        self.request_address()
        return self.read_address()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def user_of(server: PrivateServer, *packages: Path) -> Iterator[User]:
    """A process that imports from `packages` first and ends as any command ends, unless it is killed."""
    project = server.folder.parent
    with subprocess.Popen(
        [sys.executable, "-c", USER_PROGRAM, str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*packages, REPOSITORY)))},
    ) as started:
        yield User(started)


def manage(
    clone: PrivateServer, *arguments: str, python: tuple[str, ...] = (), **variables: str
) -> tuple[str, str, int]:
    """Output, errors and exit code of one command in a clone."""
    environment = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, *python, "manage.py", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=clone.folder.parent,
        env={**environment, "DEBUG": "on", "SECRET_KEY": "for-this-test", **variables},
    )
    return done.stdout, done.stderr, done.returncode


def pid_of(server: PrivateServer) -> int | None:
    process = server.process()
    return process[0] if process else None


def query(host: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host=host, port=5432, user="postgres", dbname="postgres") as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
