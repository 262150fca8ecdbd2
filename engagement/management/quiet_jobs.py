"""Many jobs within one command."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet_jobs() -> Iterator[None]:
    """Hundreds of jobs that start and end well are no news. Whoever logs at DEBUG sees them all the same."""
    log = logging.getLogger("engagement")
    former = log.level
    if log.getEffectiveLevel() == logging.INFO:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(former)
