"""Seconds and megabytes of a process, and of one SQL statement."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Callable

KILOBYTES_PER_UNIT: Final = 1 if sys.platform != "darwin" else 1 / 1024
"""Of the operating system's figure for memory."""


PRODUCTION: Final = {"DEBUG": "off", "SECRET_KEY": "of-a-benchmark", "LOG_LEVEL": "WARNING"}
"""With DEBUG on, Django keeps the text of every statement."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one round of one contender cost."""

    seconds: float
    peak_megabytes: float | None = None
    """Of the largest of its processes; None where PostgreSQL alone did the work."""


def of_process(*command: str, **environment: str) -> Measurement:
    """Run a program from its start to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, **PRODUCTION, "DATABASE_URL": database_url(), **environment},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: {' '.join(command)} ended with exit code {process.returncode}.")
    return Measurement(seconds, usage.ru_maxrss * KILOBYTES_PER_UNIT / 1024)


def of_call(work: Callable[[], None]) -> Measurement:
    """Do something in this process."""
    started = time.perf_counter()
    work()
    return Measurement(time.perf_counter() - started)


def median(measurements: list[Measurement]) -> Measurement:
    """The measurement in the middle, by time."""
    in_order = sorted(measurements, key=lambda measurement: measurement.seconds)
    return in_order[len(in_order) // 2]
