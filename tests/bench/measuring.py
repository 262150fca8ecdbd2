"""Seconds and megabytes of a process, and of one SQL statement."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_SECONDS: Final = 0.05
"""Between two looks at the memory of a process."""

PRODUCTION: Final = {"DEBUG": "off", "SECRET_KEY": "of-a-benchmark", "LOG_LEVEL": "WARNING"}
"""With DEBUG on, Django keeps the text of every statement."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one round of one contender cost."""

    seconds: float
    peak_megabytes: float | None = None
    """None where PostgreSQL alone did the work."""


def of_process(*command: str, **environment: str) -> Measurement:
    """Run a program from its start to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, **PRODUCTION, "DATABASE_URL": database_url(), **environment},
        stdout=subprocess.DEVNULL,
    )
    peak = _Peak(process.pid)
    process.wait()
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"bench: {' '.join(command)} ended with exit code {process.returncode}.")
    return Measurement(seconds, peak.megabytes())


class _Peak(Thread):
    """Watches the memory of a process.

    The operating system's own figure for an ended process, `ru_maxrss`, begins with the memory of the
    process that started it: this one.
    """

    def __init__(self, process_id: int) -> None:
        super().__init__(daemon=True)
        self._process_id = process_id
        self._kilobytes = 0
        self.start()

    def run(self) -> None:
        while Path(f"/proc/{self._process_id}").exists():
            found = re.search(r"VmHWM:\s+(\d+)", _read(f"/proc/{self._process_id}/status"))
            self._kilobytes = max(self._kilobytes, int(found[1]) if found else 0)
            time.sleep(WATCH_SECONDS)

    def megabytes(self) -> float | None:
        """The peak. None on a system without /proc."""
        self.join()
        return self._kilobytes / 1024 or None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # ended meanwhile
        return ""


def of_call(work: Callable[[], None]) -> Measurement:
    """Do something in this process."""
    started = time.perf_counter()
    work()
    return Measurement(time.perf_counter() - started)


def median(measurements: list[Measurement]) -> Measurement:
    """The measurement in the middle, by time."""
    in_order = sorted(measurements, key=lambda measurement: measurement.seconds)
    return in_order[len(in_order) // 2]
