"""When the scheduler starts the daily run. Pure: no database, no clock."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from typing import Final

RUN_TIME: Final = time(6, tzinfo=UTC)
"""Of every day (design: "a daily job that cron starts at 06:00 UTC")."""

YEARS: Final = range(1970, 3000)
"""The years of all times that are accepted from outside; the rules add and subtract days within them."""

_ISO_8601: Final = re.compile(r"[\dW-]+T[\d:.,]+(Z|[+-]\d\d(:?\d\d)?)", re.ASCII)
"""The shape alone: `fromisoformat` checks the rest, but takes any separator and seconds in an offset."""


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


def utc_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 time with an offset, and return it in UTC.

    Raises ValueError; its message says what `text` must be, and does not repeat it.
    """
    try:
        moment = datetime.fromisoformat(text) if _ISO_8601.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("must be an ISO 8601 time with an offset, such as 1997-01-01T12:00:00Z")
    with suppress(OverflowError):
        moment = moment.astimezone(UTC)
    if moment.year not in YEARS:
        raise ValueError(f"must lie in the years {YEARS[0]} to {YEARS[-1]}")
    return moment
