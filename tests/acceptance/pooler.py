"""PgBouncer in front of the test's database."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import psycopg
from django.db import connection

from tests.running import PROJECT
from tests.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL_SIZE: Final = 2
PORT: Final = 6432
NAME: Final = "pooled"
SAMPLE: Final = PROJECT / "docs" / "deploy" / "pgbouncer.ini"

# Debian's folder for it is on root's path only.
PROGRAM: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pooler_in(mode: str, **settings: str) -> Iterator[str]:
    """Run a pooler in this mode, with fewer sessions than the test has runs; yields its URL."""
    account = _account()
    # Not pytest's folder, which another account may not enter.
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_configuration(folder, pool_mode=mode, **settings)
        for path in (folder, *folder.iterdir()):
            os.chown(path, account, -1)
        url = f"postgresql://anybody@/{NAME}?host={folder}&port={PORT}"
        with subprocess.Popen(
            [PROGRAM or "pgbouncer", "-q", str(folder / "pgbouncer.ini")],
            user=account,
            stderr=subprocess.DEVNULL,
        ) as pooler:
            try:
                wait_until(lambda: _answers(url), "the pooler does not answer")
                yield url
            finally:
                pooler.terminate()
                pooler.wait(timeout=DEADLINE_SECONDS)


def _write_configuration(folder: Path, **settings: str) -> None:
    """Write the sample of the docs, with the addresses, the pool size and other settings of this test."""
    configuration = ConfigParser(interpolation=None)
    configuration.read(SAMPLE)
    server = " ".join(f"{key}='{value}'" for key, value in _server().items() if value)
    configuration["databases"] = {NAME: server}
    configuration["pgbouncer"].update(
        {
            "listen_addr": "",
            "listen_port": str(PORT),
            "unix_socket_dir": str(folder),
            "logfile": str(folder / "log"),
            "auth_type": "any",
            "default_pool_size": str(POOL_SIZE),
            **settings,
        }
    )
    del configuration["pgbouncer"]["auth_file"]
    with (folder / "pgbouncer.ini").open("w") as file:
        configuration.write(file)


def _server() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password")
    return {name: parameters.get(name) for name in names} | {"dbname": connection.settings_dict["NAME"]}


def _account() -> int:
    """The account for PgBouncer, which refuses to run as root: then the owner of the server's socket."""
    if os.geteuid() != 0:
        return os.geteuid()
    socket_folder = Path(str(_server()["host"] or "/"))
    owner = socket_folder.stat().st_uid if socket_folder.is_absolute() else 0
    return owner or pwd.getpwnam("nobody").pw_uid


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
