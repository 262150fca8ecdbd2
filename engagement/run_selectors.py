"""What the ledger knows of former runs. Nothing here writes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.models import RunStatus

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import EngagementJobRun

VANISHED_AFTER: Final = timedelta(minutes=5)
"""A run that works is seen every few seconds; one that is not has been killed, or its host has."""
VANISHED: Final = "vanished"


def outcome_of(run: EngagementJobRun, *, now: datetime) -> str:
    """How the run stands: its status, or `vanished` if it stopped working without a word.

    Not a status of its own, since nobody is there to store it, and a run that was cut off from the
    database for a while comes back.
    """
    if run.status == RunStatus.RUNNING and now - run.last_seen_at > VANISHED_AFTER:
        return VANISHED
    return run.status
