"""Whether a message of a user is new to the engine, a repeat, or older than what is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from engagement.selectors import audit_log
from engagement.selectors.due_users import lock_states_of
from engagement.services.state_machine import lock_states
from engagement.states import ReceivedMessage, State, Trigger

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.states import Transition, UserState


class Novelty(StrEnum):
    """Whether a message is new to the engine."""

    NEW = "new"
    REPEAT = "repeat"
    """The same message caused the user's latest transition."""
    OLD = "old"
    """The user has written something newer, or has been moved for their silence since it counted."""


@dataclass(frozen=True, slots=True)
class Author:
    """What is known of the author of a message, while their state row is locked."""

    user_state: UserState
    last_transition: Transition | None
    """The latest transition that a message caused."""
    entered_at: datetime | None
    """When they entered their state, as far as that is known. None for an active user."""

    def novelty_of(
        self, message: ReceivedMessage, *under_former_keys: ReceivedMessage, now: datetime
    ) -> Novelty:
        """Whether the message, known by these digests, is new."""
        heard_at = message.heard_at(now=now)
        last_message = _message_of(self.last_transition) if self.last_transition else None
        if self.last_transition and last_message:
            if last_message in (message, *under_former_keys):
                return Novelty.REPEAT
            # A reply to a goodbye does not change last_activity_at, although the user wrote then.
            if heard_at < last_message.heard_at(now=self.last_transition.created_at):
                return Novelty.OLD
        if self.user_state.state == State.ACTIVE or heard_at > self.user_state.last_activity_at:
            return Novelty.NEW
        # When another program moved the user is unknown: then a message is old that is older than the
        # last activity.
        entered_at = self.entered_at or self.user_state.last_activity_at
        return Novelty.NEW if heard_at >= entered_at else Novelty.OLD


def lock_author(user_id: UUID, *, heard_at: datetime) -> Author:
    """Lock the author's state row, which is made if there is none, and read what is known of them.

    Transaction: needs the caller's. Raises EngagementStateNotFound for a user without a profile.
    """
    known = lock_states_of([user_id])
    (user_state,) = known or lock_states(user_ids=[user_id], trigger=Trigger.USER_MESSAGE, now=heard_at)
    entered_at = None
    if user_state.state != State.ACTIVE:
        entered_at = user_state.goodbye_sent_at or audit_log.entered_at(user_id, user_state.state)
    return Author(user_state, audit_log.last_transition_by_message(user_id), entered_at)


def _message_of(move: Transition) -> ReceivedMessage | None:
    """The message that caused a transition; None for a time that there is not, such as 30 February.

    A row of another program, such as functions.sql, has no digest, and equals no message.
    """
    try:
        received_at = datetime.fromisoformat(str(move.metadata["received_at"]))
    except ValueError:
        return None
    return ReceivedMessage(received_at, str(move.metadata.get("text_digest", "")))
