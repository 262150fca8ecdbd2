"""The goodbye message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement import message_catalogue as messages
from engagement.models import MessageType
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.message_queue import NewMessage

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.selectors.due_users import DueUser


def goodbye_for(user: DueUser, *, now: datetime) -> NewMessage:
    """The goodbye to a user who is due at `now`, scheduled for `now`."""
    user_id = str(user.user_state.user_id)
    return NewMessage(
        user_id=user_id,
        message_type=MessageType.GOODBYE,
        message_key=messages.GOODBYE,
        destination=user.destination,
        destination_jid=user.destination_jid,
        scheduled_for=now,
        idempotency_key=goodbye_key(user_id, now=now),
    )
