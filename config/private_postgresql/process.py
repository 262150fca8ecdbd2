"""Whether a server runs on a data folder, and stopping it.

A process id alone proves nothing: after a restart of a container the id in an old
postmaster.pid often belongs to another program, which both the library and PostgreSQL would take
for the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS: Final = 60
POLL_SECONDS: Final = 0.02
PID_FILE: Final = "postmaster.pid"
# The lines of that file, counted from nought; the last is written once the server accepts connections.
PORT_LINE, SOCKET_FOLDER_LINE, STATUS_LINE = 3, 4, 7


class ServerStuckError(Exception):
    """A server neither becomes ready nor ends."""


def server_pid(data: Path) -> int | None:
    """The process id of the server that runs on this data folder, None if none does."""
    pid = _written_pid(data)
    return pid if pid is not None and _serves(pid, data) else None


def stop(data: Path) -> None:
    """End the server, if one runs, and its clients' sessions with it.

    Raises ServerStuckError when it does not end within a minute.
    """
    pid = server_pid(data)
    if pid is None:
        return
    os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown
    _wait_until(lambda: not _serves(pid, data), f"The private PostgreSQL (process {pid}) does not stop.")


def settle(data: Path) -> bool:
    """Wait while a server is starting or ending; whether one is ready afterwards.

    A server lives on when the command that started it is killed, so it can be met in any state.
    Raises ServerStuckError when nothing changes within a minute.
    """
    _wait_until(
        lambda: _is_ready(data) or server_pid(data) is None,
        f"The private PostgreSQL is neither ready nor stopped; {data / 'log'} says more.",
    )
    return server_pid(data) is not None


def forget(data: Path) -> None:
    """Remove what a dead server left behind and the next one would stumble over.

    Where its process id belongs to nobody, PostgreSQL tidies up more carefully itself.
    """
    lines = _pid_file_lines(data)
    pid = _written_pid(data)
    if pid is not None and len(lines) > STATUS_LINE and not _is_taken(pid):
        return
    (data / PID_FILE).unlink(missing_ok=True)
    if len(lines) > SOCKET_FOLDER_LINE and lines[SOCKET_FOLDER_LINE]:
        socket_lock = f".s.PGSQL.{lines[PORT_LINE]}.lock"
        (Path(lines[SOCKET_FOLDER_LINE]) / socket_lock).unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process runs, or stands; one that has ended is not alive, even if nobody reaped it."""
    return bool(_command_line(pid))


def _is_taken(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _written_pid(data: Path) -> int | None:
    lines = _pid_file_lines(data)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _is_ready(data: Path) -> bool:
    lines = _pid_file_lines(data)
    return len(lines) > STATUS_LINE and lines[STATUS_LINE] == "ready"


def _pid_file_lines(data: Path) -> list[str]:
    try:
        text = (data / PID_FILE).read_text()
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines()]


def _serves(pid: int, data: Path) -> bool:
    program, *arguments = _command_line(pid) or [""]
    return Path(program).name == "postgres" and str(data) in arguments


def _command_line(pid: int) -> list[str]:
    """The words of a running process's command line; none for an ended one that nobody reaped."""
    if Path("/proc/self/cmdline").exists():
        try:
            text = Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape")
        except (FileNotFoundError, ProcessLookupError):
            return []
        return text.rstrip("\0").split("\0") if text else []
    # macOS has no /proc. Paths with spaces never get here: see place.py.
    answer = subprocess.run(  # noqa: S603  the only variable part is a number
        ["/bin/ps", "-o", "args=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return answer.stdout.split()


def _wait_until(condition: Callable[[], bool], complaint: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise ServerStuckError(complaint)
        time.sleep(POLL_SECONDS)
