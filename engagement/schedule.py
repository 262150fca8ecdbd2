"""When the scheduler starts the daily run. Pure: no database, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Final

RUN_TIME: Final = time(6, tzinfo=UTC)
"""Of every day (design: "a daily job that cron starts at 06:00 UTC")."""


def first_run_after(instant: datetime) -> datetime:
    """The first scheduled run that starts strictly after `instant` (aware).

    Raises OverflowError at the end of Python's calendar.
    """
    run_at = datetime.combine(instant.astimezone(UTC).date(), RUN_TIME)
    return run_at if run_at > instant else run_at + timedelta(days=1)


def first_run_from(instant: datetime) -> datetime:
    """The first scheduled run that starts at `instant` (aware) or after it."""
    return first_run_after(instant - datetime.resolution)


def coming_runs(now: datetime, *, count: int) -> list[datetime]:
    """A run at `now` (aware), and the scheduled ones behind it: `count` in all."""
    runs = [now]
    while len(runs) < count:
        runs.append(first_run_after(runs[-1]))
    return runs
