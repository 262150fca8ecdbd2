"""Wait for what other processes, threads and sessions do."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_SECONDS: Final = 60
PAUSE_SECONDS: Final = 0.005
"""Without it the test takes the processor from the process that it waits for."""


def wait_until(condition: Callable[[], object], complaint: str) -> None:
    """Return as soon as `condition` holds. The test fails with `complaint` after DEADLINE_SECONDS."""
    deadline_at = monotonic() + DEADLINE_SECONDS
    while not condition():
        assert monotonic() < deadline_at, complaint
        sleep(PAUSE_SECONDS)
