"""Users, as the model knows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True)
class UserStatus:
    """Where a user stands."""

    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None = None
    goodbye_expires_at: datetime | None = None
    remind_at: datetime | None = None
    dormant_since: datetime | None = None


class MovingMessage(NamedTuple):
    """A message of the user that moved them."""

    received_at: datetime
    text: str
    heard_at: datetime
    trigger: str


@dataclass(slots=True)
class User:
    """A profile, and where the user stands, if that is known already."""

    jid: str | None
    destination: str
    opted_out: bool = False
    user_status: UserStatus | None = None
    last_moving_message: MovingMessage | None = None
    opt_out_changed_at: datetime | None = None


class Newcomer(NamedTuple):
    """A user as another program has written them."""

    jid: str | None
    destination: str
    opted_out: bool
    state: str | None
    for_long: timedelta


def note_activity(user_status: UserStatus, at: datetime) -> None:
    """Forward only."""
    user_status.last_activity_at = max(user_status.last_activity_at, at)


def set_timestamps(user_status: UserStatus, *, at: datetime) -> None:
    """Those of the state, as of having entered it then; the others are cleared."""
    user_status.goodbye_sent_at = user_status.goodbye_expires_at = user_status.remind_at = None
    if user_status.state == "goodbye_sent":
        user_status.goodbye_sent_at = at
        user_status.goodbye_expires_at = at + timedelta(hours=48)
    if user_status.state == "remind_later":
        user_status.remind_at = at + timedelta(days=14)
