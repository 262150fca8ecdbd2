"""Opting out and in: the only writer of that wish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Q

from engagement.models import MessageType, UserProfile
from engagement.replies import Preference
from engagement.services.message_queue import cancel_pending
from engagement.services.state_machine import lock_known_states
from engagement.states import require_aware

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

REENGAGEMENT: Final = (
    MessageType.GOODBYE,
    MessageType.REMINDER,
    MessageType.WEEKLY_REVIEW,
    MessageType.HELP_RESTART,
)
"""What opting out stops. A welcome and an unlocked tier answer something that the user did."""


class UserProfileNotFound(Exception):
    """There is no profile for the user, so that nothing can be remembered of their wishes."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"No profile for {user_id}.")
        self.user_id = user_id


@dataclass(frozen=True, slots=True)
class PreferenceChange:
    """What became of a wish."""

    is_applied: bool
    """False where a later wish of the same user is known already."""
    cancelled: int
    """How many pending messages were taken out of the queue."""


def opt_out(*, user_id: UUID, now: datetime) -> PreferenceChange:
    """Send the user no re-engagement messages any more, not even those that are queued.

    Transaction: opens one, or joins the caller's. Locks the user's state row, then the profile, as
    the daily job does: a goodbye that is being queued at this moment is cancelled as well.
    Repeating is harmless.
    Raises UserProfileNotFound, and ValueError for a naive `now`; nothing is changed then.
    """
    return set_preference(user_id=user_id, preference=Preference.OPTED_OUT, now=now)


def opt_in(*, user_id: UUID, now: datetime) -> PreferenceChange:
    """Let the user be told goodbye again. What was cancelled stays so.

    Transaction, repeating and errors as for `opt_out`.
    """
    return set_preference(user_id=user_id, preference=Preference.OPTED_IN, now=now)


def set_preference(
    *, user_id: UUID, preference: Preference, now: datetime, said_at: datetime | None = None
) -> PreferenceChange:
    """Do as the user wishes; a wish that was said at `said_at` changes no later one.

    Transaction, repeating and errors as for `opt_out`. Without `said_at` it is the latest.
    """
    require_aware(now)
    opts_out = preference is Preference.OPTED_OUT
    with transaction.atomic():
        lock_known_states(user_ids=[user_id])
        profiles = UserProfile.objects.filter(pk=user_id)
        is_latest = Q() if said_at is None else ~Q(opt_out_changed_at__gt=said_at)
        is_applied = profiles.filter(is_latest).update(
            reengagement_opt_out=opts_out, opt_out_changed_at=said_at or now, updated_at=now
        )
        if not is_applied and not profiles.exists():
            raise UserProfileNotFound(user_id)
        stops = is_applied and opts_out
        cancelled = cancel_pending(user_id=user_id, message_types=REENGAGEMENT) if stops else 0
    return PreferenceChange(bool(is_applied), cancelled)
