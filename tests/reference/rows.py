"""The rows and values that the model and the app are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.reference.rules import timestamps_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID


class StateRow(NamedTuple):
    """The compared columns of a state."""

    user_id: UUID
    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None


class AuditRow(NamedTuple):
    """The compared columns of a transition."""

    user_id: UUID
    created_at: datetime
    from_state: str
    to_state: str
    trigger: str
    metadata: dict[str, Any]


class QueueRow(NamedTuple):
    """The compared columns of a message."""

    idempotency_key: str
    user_id: UUID
    message_type: str
    message_key: str
    message_params: dict[str, Any]
    destination: str
    destination_jid: str
    scheduled_for: datetime
    status: str


class Newcomer(NamedTuple):
    """A user as another program has written them, for so long in this state; without one there is no row."""

    jid: str | None
    destination: str
    opted_out: bool
    state: str | None
    for_long: timedelta


class Inbound(NamedTuple):
    """A message from a user."""

    user_id: UUID
    text: str
    received_at: datetime


class Heard(NamedTuple):
    """The compared part of the result of an inbound message."""

    novelty: str
    trigger: str | None
    opted_out: bool | None
    reply_key: str | None
    cancelled: int


class Tally(NamedTuple):
    """What one check of one run reports."""

    succeeded: int
    opted_out: int = 0
    no_destination: int = 0


class MovingMessage(NamedTuple):
    """The last message that moved a user."""

    received_at: datetime
    text: str
    heard_at: datetime
    trigger: str


@dataclass(slots=True)
class Status:
    """A user's state."""

    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None = None
    goodbye_expires_at: datetime | None = None
    remind_at: datetime | None = None
    dormant_since: datetime | None = None

    def set_timestamps(self, *, since: datetime) -> None:
        for name, value in timestamps_of(self.state, since=since).items():
            setattr(self, name, value)

    def note_activity(self, at: datetime) -> None:
        """Forward only."""
        self.last_activity_at = max(self.last_activity_at, at)


@dataclass(slots=True)
class User:
    """A profile, and the state if there is one."""

    jid: str | None
    destination: str
    updated_at: datetime
    opted_out: bool = False
    status: Status | None = None
    moving_message: MovingMessage | None = None
    opt_out_changed_at: datetime | None = None

    @property
    def may_get_goodbye(self) -> bool:
        return bool(self.jid) and not self.opted_out
