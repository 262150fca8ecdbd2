"""Starting the private server, and sharing it between the processes that use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from config.private_postgresql import library, process
from config.private_postgresql.place import ROOT, PlaceRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.private_postgresql.place import Place

# The library's own list of the processes that use the server; the last one stops it.
USERS_FILE: Final = ".handle_pids.json"


class StartFailedError(Exception):
    """The private server could not be started."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a client finds the server: the folder of its socket, and the number in the socket's name."""

    host: str
    port: int
    programs: Path


_servers: Final[dict[Place, Any]] = {}


def running(place: Place) -> Address:
    """The address of a server that runs, started now if need be.

    May be called before every connection: it is quick while the server runs, and brings it back
    if it has died. Raises PlaceRefusedError, LibraryMissingError or StartFailedError, each with
    one sentence.
    """
    server = _servers.get(place)
    if server is None or process.server_pid(server.pgdata) != server.get_pid():
        server = _servers[place] = _start(place)
    information = server.get_postmaster_info()
    return Address(host=str(information.socket_dir), port=information.port, programs=library.programs())


def _start(place: Place) -> Any:
    try:
        with place.exclusively():
            folder = place.prepare()
            postgres = library.load(copy_below=place.home if place.user_id == ROOT else None)
            return _start_in(folder, postgres)
    except (PlaceRefusedError, library.LibraryMissingError, StartFailedError):
        raise
    except OSError as error:
        raise StartFailedError(f"the private PostgreSQL could not be started: {error}.") from error


def _start_in(folder: Path, postgres: Any) -> Any:
    """Start or join the server of a folder, under the lock of its place."""
    data = folder / "data"
    complete = folder / "complete"
    try:
        if data.exists() and not complete.exists():
            # A start that was interrupted leaves half a database, which would never run.
            process.stop(data)
            shutil.rmtree(data)
        with _plain_locale():
            server = _start_patiently(data, postgres)
        complete.touch()
    except Exception as error:
        raise StartFailedError(_complaint(data, error)) from error
    return server


def _start_patiently(data: Path, postgres: Any) -> Any:
    _tidy(data, postgres)
    try:
        return postgres.get_server(data)
    except subprocess.TimeoutExpired:
        # The library waits ten seconds. On a slow disk the server may be nearly there.
        _tidy(data, postgres)
        return postgres.get_server(data)


def _tidy(data: Path, postgres: Any) -> None:
    """Let the library find either a server that is ready or none.

    Also strikes ended processes off the list of users: one that was killed could not do so, and
    the server would never be stopped.
    """
    servers = postgres.PostgresServer
    servers._instances.pop(data, None)  # noqa: SLF001  what it remembers of a server that has died
    with servers._lock:  # noqa: SLF001  it is what the library holds while it changes the list
        users_file = data / USERS_FILE
        if not process.settle(data):
            process.forget(data)
            users_file.unlink(missing_ok=True)
        elif users_file.exists():
            users = [pid for pid in json.loads(users_file.read_text()) if process.is_alive(pid)]
            users_file.write_text(json.dumps(users))


@contextmanager
def _plain_locale() -> Iterator[None]:
    """Set up the database alike everywhere; initdb refuses a locale that the machine lacks."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before


def _complaint(data: Path, error: Exception) -> str:
    log = data / "log"
    reason = f"{log} says why" if log.exists() else f"{type(error).__name__}: {error}"
    return f"the private PostgreSQL did not start: {reason} (`make clean` gives it new data)."
