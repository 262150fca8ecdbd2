"""Times: how a timestamp is written, when the daily run starts, what it does next. Pure: no clock."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from engagement.states import Check, SkipReason

DEFAULT_RUN_TIME: Final = time(6, tzinfo=UTC)

MAX_GAP: Final = timedelta(hours=1)
"""The largest difference between a run's `now` and the clock that needs no remark."""

YEARS: Final = range(1970, 3000)
"""The years of all times that are accepted from outside; the rules add and subtract days within them."""

_ISO_8601: Final = re.compile(
    r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d-?\d)"
    r"T(\d\d(:\d\d(:\d\d([.,]\d+)?)?)?|\d{4}(\d\d([.,]\d+)?)?)"
    r"(Z|[+-]\d\d(:?\d\d)?)",
    re.ASCII,
)
"""The shape alone: `fromisoformat` checks the rest, but reads what has another shape as another time."""


class NextStepKind(StrEnum):
    """What the next run does with a user."""

    DUE = "due"
    """It moves the user."""
    NOT_YET = "not_yet"
    """The user is not due yet."""
    SKIPPED = "skipped"
    """The user has been silent for long enough, but opted out or has no address."""
    NO_CHECK = "no_check"
    """No check covers the user's state: only a message from the user changes it."""
    NO_STATE = "no_state"
    """The user has no state row. Their first message creates it."""


class NextStep(NamedTuple):
    """What comes next if the user does not write."""

    verdict: NextStepKind
    check: Check | None = None
    """The check that covers the user's state."""
    obstacles: tuple[SkipReason, ...] = ()
    """Why that check skips the user, now or when they are due."""
    next_run_at: datetime | None = None
    """The first scheduled run that moves the user, if nothing prevents it."""


def first_run_after(instant: datetime, *, run_time: time) -> datetime:
    """The first scheduled run strictly after `instant` (aware). `run_time` is in UTC."""
    run_at = datetime.combine(instant.astimezone(UTC).date(), run_time)
    return run_at if run_at > instant else run_at + timedelta(days=1)


def gap_to_clock(now: datetime, *, clock: datetime) -> timedelta | None:
    """How far `now` is ahead of the clock, or behind it (negative); None up to an hour."""
    gap = now - clock
    return gap if abs(gap) > MAX_GAP else None


def first_run_from(instant: datetime, *, run_time: time) -> datetime:
    """The first scheduled run at `instant` (aware) or after it."""
    return first_run_after(instant - datetime.resolution, run_time=run_time)


def coming_runs(now: datetime, *, count: int, run_time: time) -> list[datetime]:
    """A run at `now` (aware) and the scheduled runs after it, `count` in all."""
    runs = [now]
    while len(runs) < count:
        runs.append(first_run_after(runs[-1], run_time=run_time))
    return runs


def iso_text(instant: datetime | None) -> str | None:
    """The time in ISO 8601, for JSON and for arrays of text."""
    return instant.isoformat() if instant else None


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
