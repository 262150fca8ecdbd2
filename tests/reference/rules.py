"""The rules of the design a second time: plain Python, and nothing of the app.

They are slow and simple on purpose. Where a test finds that these and the app disagree, one of them has
misread the design.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

DAY: Final = timedelta(days=1)
SILENCE: Final = 14 * DAY
GOODBYE_WAIT: Final = timedelta(hours=48)
REMIND_AFTER: Final = 14 * DAY
UNPROMPTED_RETURN_AFTER: Final = 3 * DAY

TRANSITIONS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("active", "inactivity_14d"): "goodbye_sent",
        ("goodbye_sent", "user_message"): "active",
        ("goodbye_sent", "goodbye_response_1"): "help_flow",
        ("goodbye_sent", "goodbye_response_2"): "remind_later",
        ("goodbye_sent", "goodbye_response_3"): "dormant",
        ("goodbye_sent", "goodbye_timeout"): "dormant",
        ("help_flow", "user_message"): "active",
        ("remind_later", "user_message"): "active",
        ("remind_later", "reminder_due"): "dormant",
        ("dormant", "user_message"): "active",
    }
)
CHECKS: Final = ("inactivity_14d", "goodbye_timeout", "reminder_due")
RESPONSE_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "goodbye_response_1": "confused",
        "goodbye_response_2": "busy",
        "goodbye_response_3": "all_good",
        "goodbye_timeout": "timeout",
    }
)
GOODBYE_TEXT: Final = "engagement.goodbye.self_select"


class UserState(Protocol):
    """A user's state and its timestamps, in a row or in a model."""

    @property
    def state(self) -> str: ...
    @property
    def last_activity_at(self) -> datetime: ...
    @property
    def goodbye_sent_at(self) -> datetime | None: ...
    @property
    def goodbye_expires_at(self) -> datetime | None: ...
    @property
    def remind_at(self) -> datetime | None: ...


def next_check(user: UserState) -> tuple[str, datetime] | None:
    """The check that concerns this user, and the instant after which they are due."""
    if user.state == "active":
        return "inactivity_14d", user.last_activity_at + SILENCE
    if user.state == "goodbye_sent" and user.goodbye_expires_at:
        return "goodbye_timeout", user.goodbye_expires_at
    if user.state == "remind_later" and user.remind_at:
        return "reminder_due", user.remind_at
    return None


def due_check(user: UserState, *, now: datetime) -> str | None:
    """The check that finds this user due, whether or not they may get a goodbye."""
    name, at = next_check(user) or ("", now)
    return name if at < now else None


def timestamps_of(state: str, *, since: datetime) -> dict[str, datetime | None]:
    """The timestamps of a user who came to this state then."""
    is_goodbye = state == "goodbye_sent"
    return {
        "goodbye_sent_at": since if is_goodbye else None,
        "goodbye_expires_at": since + GOODBYE_WAIT if is_goodbye else None,
        "remind_at": since + REMIND_AFTER if state == "remind_later" else None,
    }


def former_timestamps(user: UserState) -> dict[str, datetime]:
    """The timestamps that a transition clears; the audit log keeps them."""
    columns = ("goodbye_sent_at", "goodbye_expires_at", "remind_at")
    return {name: value for name in columns if (value := getattr(user, name))}


def days_inactive(user: UserState, *, at: datetime) -> int:
    return max((at - user.last_activity_at) // DAY, 0)


def goodbye_key(user_id: UUID, *, at: datetime) -> str:
    """The idempotency key: one goodbye for each user and day."""
    return f"{user_id}:goodbye_sent:{at.astimezone(UTC).date().isoformat()}"
