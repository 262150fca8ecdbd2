"""How another program holds a run up at one user: it queues that user's goodbye and does not commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.acceptance.due import GOODBYE, due_users
from tests.factories import NOW

if TYPE_CHECKING:
    from uuid import UUID

    import psycopg

    from tests.acceptance.rows import Snapshot

_TAKE_KEY: Final = """
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
    VALUES (%s, 'goodbye', 'taken', 'individual', 'nowhere', %s)
"""


def take_key(other: psycopg.Connection, user_id: UUID) -> None:
    """Whoever queues this user's goodbye waits until `other` ends its transaction."""
    other.execute(_TAKE_KEY, [user_id, f"{user_id}:goodbye_sent:{NOW.date()}"])


def goodbyes_in_order(before: Snapshot) -> list[UUID]:
    """Who is to be told goodbye, in the order in which the job claims."""
    due = [user_id for user_id, move in due_users(before, now=NOW).items() if move == GOODBYE]
    return sorted(due, key=lambda user_id: (before.states[user_id].last_activity_at, user_id))


def first_goodbyes(before: Snapshot) -> list[UUID]:
    """Those among them whose key is free."""
    told = {message.user_id for message in before.messages.values()}
    return [user_id for user_id in goodbyes_in_order(before) if user_id not in told]
