"""Who is due: section 4 of the design once more, without the app."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from tests.acceptance.rows import Profile, Snapshot, UserState

DAY: Final = timedelta(days=1)


class Expected(NamedTuple):
    """The move that a due user must make."""

    from_state: str
    trigger: str
    to_state: str


GOODBYE: Final = Expected("active", "inactivity_14d", "goodbye_sent")
TIMEOUT: Final = Expected("goodbye_sent", "goodbye_timeout", "dormant")
REMINDER: Final = Expected("remind_later", "reminder_due", "dormant")


def due_users(snapshot: Snapshot, *, now: datetime) -> dict[UUID, Expected]:
    """Who is due, and the move that each must make."""
    expected = {
        user_id: expected_move(user, snapshot.profiles[user_id], now=now)
        for user_id, user in snapshot.states.items()
    }
    return {user_id: move for user_id, move in expected.items() if move}


def expected_move(user: UserState, profile: Profile, *, now: datetime) -> Expected | None:
    """The move that this user must make, if any."""
    if user.state == "active" and user.last_activity_at < now - 14 * DAY:
        return GOODBYE if profile.whatsapp_jid and not profile.reengagement_opt_out else None
    if user.state == "goodbye_sent" and user.goodbye_expires_at and user.goodbye_expires_at < now:
        return TIMEOUT
    if user.state == "remind_later" and user.remind_at and user.remind_at < now:
        return REMINDER
    return None
