"""Times and states as a person would say them. Pure."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from engagement.formatting import count_text, date_text
from engagement.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import UserEngagementState
    from engagement.selectors.user_history import UserStatus

_UNITS: Final = (
    ("year", timedelta(days=365)),
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
)
_ALMOST_A_WEEK: Final = timedelta(days=6)


def relative(instant: datetime | None, *, now: datetime) -> str:
    """`5 hours ago`, `in 2 days`."""
    if instant is None:
        return "at an unknown time"
    return f"{_period(now - instant)} ago" if instant <= now else f"in {_period(instant - now)}"


def near(instant: datetime, *, now: datetime) -> str:
    """`Wednesday 06:00 UTC` where that can mean one instant only, else the date."""
    if abs(instant - now) < _ALMOST_A_WEEK:
        return f"{instant.astimezone(UTC):%A %H:%M} UTC"
    return date_text(instant)


def state_in_words(
    user_state: UserStatus | UserEngagementState, *, now: datetime, since: datetime | None = None
) -> str:
    """Where a user stands, since when (where that is known) and until when."""
    match State(user_state.state):
        case State.GOODBYE_SENT if user_state.goodbye_sent_at and user_state.goodbye_expires_at:
            sent = relative(user_state.goodbye_sent_at, now=now)
            return f"goodbye sent {sent}, {_end(user_state.goodbye_expires_at, now=now)}"
        case State.REMIND_LATER if user_state.remind_at:
            return f"to be reminded later, which {_end(user_state.remind_at, now=now)}"
        case state:
            heard_of_at = user_state.last_activity_at
            heard_of = f"last heard of {relative(heard_of_at, now=now)}"
            if since is None:
                return f"{state.label}, {heard_of}"
            return f"{state.label} since {date_text(since)}, {heard_of} ({date_text(heard_of_at)})"


def _end(instant: datetime, *, now: datetime) -> str:
    verb = "ends" if instant > now else "ended"
    return f"{verb} {near(instant, now=now)}"


def _period(length: timedelta) -> str:
    """In the largest unit of which there is one."""
    for noun, unit in _UNITS:
        if length >= unit:
            return count_text(length // unit, noun)
    return "less than a minute"
