"""Opting out of re-engagement messages, and in again. The only writer of that preference."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Q

from engagement.models import MessageType, UserProfile
from engagement.replies import Preference
from engagement.selectors.due_users import lock_states_of
from engagement.services.arguments import as_user_id, require_storable
from engagement.services.message_queue import OPTED_OUT, cancel_pending
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.suppression import lift, may_be_lifted

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

REENGAGEMENT: Final = (
    MessageType.GOODBYE,
    MessageType.REMINDER,
    MessageType.WEEKLY_REVIEW,
    MessageType.HELP_RESTART,
)
"""The message types that opting out stops. The others answer something that the user did."""


class UserProfileNotFound(Exception):
    """The user has no profile that could hold their preference."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"No profile for {user_id}.")
        self.user_id = user_id


@dataclass(frozen=True, slots=True)
class PreferenceChange:
    """The effect of a preference."""

    is_applied: bool
    """False if a later preference of the same user is known, or a later erasure of their address."""
    cancelled: int
    """How many pending messages were cancelled."""
    is_change: bool = field(default=True, compare=False)
    """False if the user opted in without being opted out."""


class PreferenceSource(StrEnum):
    """By what a preference came. Stored as `opt_out_source`."""

    MESSAGE = "message"
    """The user wrote it."""
    SUPPORT = "support"
    """A staff account set it in the admin."""
    API = "api"
    """Another program set it, over HTTP or by this service."""
    PROVIDER = "provider"
    """The provider reported it."""
    SUPPRESSION = "suppression"
    """The address belongs to a person who was erased."""


def opt_out(
    *, user_id: UUID | str, now: datetime, source: PreferenceSource = PreferenceSource.API
) -> PreferenceChange:
    """Stop all re-engagement messages to the user, and cancel the pending ones.

    Transaction: opens one, or joins the caller's. Locks the user's state row, then the profile, as
    the daily job does, so that a goodbye which is being queued meanwhile is cancelled too.
    Repeatable. Raises UserProfileNotFound; ValueError for an id that is no UUID, and for a time that is naive
    or not from 1970 to 2999. Changes nothing then.
    """
    return set_preference(user_id=user_id, preference=Preference.OPTED_OUT, now=now, source=source)


def opt_in(*, user_id: UUID | str, now: datetime) -> PreferenceChange:
    """Allow re-engagement messages to the user again. Cancelled messages stay cancelled.

    Transaction, repetition and errors as for `opt_out`.
    """
    return set_preference(user_id=user_id, preference=Preference.OPTED_IN, now=now)


@retry_own_transaction
def set_preference(
    *,
    user_id: UUID | str,
    preference: Preference,
    now: datetime,
    said_at: datetime | None = None,
    source: PreferenceSource = PreferenceSource.API,
) -> PreferenceChange:
    """Store a preference that the user expressed at `said_at`, unless a later one is known.

    Without `said_at` it is the latest. `preference` and `source` may be their texts, such as `opted_out`;
    ValueError for another text. Transaction, repetition and errors as for `opt_out`.
    """
    require_storable(now)
    require_storable(said_at or now)
    user_id, preference, source = as_user_id(user_id), Preference(preference), PreferenceSource(source)
    opts_out = preference is Preference.OPTED_OUT
    with transaction.atomic():
        lock_states_of([user_id])
        profiles = UserProfile.objects.filter(pk=user_id)
        locked = profiles.select_for_update(no_key=True)
        known = locked.values_list("whatsapp_jid", "reengagement_opt_out").first()
        if known is None:
            raise UserProfileNotFound(user_id)
        address, was_opted_out = known
        if not opts_out and not may_be_lifted(address, said_at=said_at):
            profiles = profiles.none()
        is_applied = profiles.filter(_is_latest(preference, said_at)).update(
            reengagement_opt_out=opts_out,
            opt_out_changed_at=said_at or now,
            opt_out_source=source.value,
            updated_at=now,
        )
        cancelled, is_change = 0, opts_out or was_opted_out
        if is_applied and opts_out:
            cancelled = cancel_pending(user_id=user_id, message_types=REENGAGEMENT, reason=OPTED_OUT)
        elif is_applied:
            # A person who was erased once wants messages again.
            is_change = lift(address) > 0 or was_opted_out
    return PreferenceChange(bool(is_applied), cancelled, is_change)


def remember_opt_out(*, user_id: UUID, now: datetime) -> None:
    """Store an opt-out without cancelling messages: for the sender, which has one of them locked.

    Transaction: needs the caller's, in which the profile was locked. Repeatable.
    """
    UserProfile.objects.filter(pk=user_id, reengagement_opt_out=False).update(
        reengagement_opt_out=True,
        opt_out_changed_at=now,
        opt_out_source=PreferenceSource.SUPPRESSION.value,
        updated_at=now,
    )


def _is_latest(preference: Preference, said_at: datetime | None) -> Q:
    """Whether a preference is the user's latest, by the stricter reading of consent.

    Opting out counts unless a later preference is known. Opting in needs proof that it came later than
    the opt-out, which another program may have stored without its date.
    """
    if said_at is None:
        return Q()
    if preference is Preference.OPTED_OUT:
        return ~Q(opt_out_changed_at__gt=said_at)
    is_later = Q(opt_out_changed_at__lt=said_at) | Q(opt_out_changed_at__isnull=True, updated_at__lte=said_at)
    return Q(reengagement_opt_out=True) & is_later | Q(reengagement_opt_out=False) & ~Q(
        opt_out_changed_at__gt=said_at
    )
