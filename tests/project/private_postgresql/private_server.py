"""Processes that use a private server, and how to look at one from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from config.private_postgresql import process
from config.private_postgresql.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[3]

# Uses the server until its standard input ends; answers every line with the server's address.
USER_PROGRAM = """
import os, sys
from pathlib import Path
from config.private_postgresql import server
from config.private_postgresql.place import Place

place = Place(project=Path(sys.argv[1]), user_id=os.geteuid())
for _ in sys.stdin:
    print(server.running(place).host, flush=True)
"""


class User:
    """A process that uses the private server of a place."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("where?\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def address(self) -> str:
        self.ask()
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def user_of(place: Place, *packages: Path) -> Iterator[User]:
    """Ends the process as any command ends, unless it was killed before.

    It finds what it imports in `packages` first.
    """
    with subprocess.Popen(
        [sys.executable, "-c", USER_PROGRAM, str(place.project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=place.project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*packages, REPOSITORY)))},
    ) as started:
        yield User(started)


def place_of(project: Path) -> Place:
    return Place(project=project, user_id=os.geteuid())


def manage(
    clone: Place, *arguments: str, python: tuple[str, ...] = (), **variables: str
) -> tuple[str, str, int]:
    """Output, errors and exit code of one command in a clone."""
    environment = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, *python, "manage.py", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=clone.project,
        env={**environment, "DEBUG": "on", "SECRET_KEY": "for-this-test", **variables},
    )
    return done.stdout, done.stderr, done.returncode


def data_of(place: Place) -> Path:
    return place.link.resolve() / "data"


def server_pid(place: Place) -> int | None:
    return process.server_pid(data_of(place))


def query(host: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(host=host, port=5432, user="postgres", dbname="postgres") as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
