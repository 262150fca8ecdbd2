"""The users that are due in a snapshot, and how another program keeps a run waiting at one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.factories import NOW
from tests.reference.rules import TRANSITIONS, due_check, goodbye_key

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import psycopg

    from tests.acceptance.rows import Profile, Snapshot, UserState

_TAKE_KEY: Final = """
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
    VALUES (%s, 'goodbye', 'taken', 'individual', 'nowhere', %s)
"""


class Expected(NamedTuple):
    """The transition that a due user must make."""

    from_state: str
    trigger: str
    to_state: str


def due_users(snapshot: Snapshot, *, now: datetime) -> dict[UUID, Expected]:
    """The due users, and the transition that each must make."""
    expected = {
        user_id: expected_transition(user, snapshot.profiles[user_id], now=now)
        for user_id, user in snapshot.states.items()
    }
    return {user_id: transition for user_id, transition in expected.items() if transition}


def expected_transition(user: UserState, profile: Profile, *, now: datetime) -> Expected | None:
    """The transition that this user must make, if any."""
    check = due_check(user, now=now)
    if check == "inactivity_14d" and (profile.reengagement_opt_out or not profile.whatsapp_jid):
        return None
    return Expected(user.state, check, TRANSITIONS[user.state, check]) if check else None


def goodbyes_in_order(before: Snapshot) -> list[UUID]:
    """The users that must get a goodbye, in the order in which a run claims them."""
    due = [user_id for user_id, move in due_users(before, now=NOW).items() if move.to_state == "goodbye_sent"]
    return sorted(due, key=lambda user_id: (before.states[user_id].last_activity_at, user_id))


def first_goodbyes(before: Snapshot) -> list[UUID]:
    """Those of them that have no message yet, so that their idempotency key is free."""
    have_message = {message.user_id for message in before.messages.values()}
    return [user_id for user_id in goodbyes_in_order(before) if user_id not in have_message]


def take_key(other: psycopg.Connection, user_id: UUID) -> None:
    """Queue this user's goodbye without a commit: a run that queues it too waits for `other`."""
    other.execute(_TAKE_KEY, [user_id, goodbye_key(user_id, at=NOW)])
