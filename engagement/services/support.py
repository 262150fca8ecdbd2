"""What a person may do for a user by hand: bring them back, opt them out or in, retry a failed message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction

from engagement.models import EngagementMessage, MessageStatus, MessageType, UserProfile
from engagement.replies import Preference
from engagement.services.message_queue import cancel_pending, retry_messages
from engagement.services.preferences import REENGAGEMENT, set_preference
from engagement.services.state_machine import (
    EngagementStateNotFound,
    lock_known_states,
    transition_states,
)
from engagement.states import State, Trigger, require_aware

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from engagement.services.preferences import PreferenceChange
    from engagement.states import Transition


@dataclass(frozen=True, slots=True)
class Return:
    """What became of an attempt to bring a user back."""

    transition: Transition | None
    """None for an active user, who is left as they are."""
    cancelled: int = 0
    """How many pending goodbyes were taken out of the queue."""


class Retry(StrEnum):
    """What became of an attempt to queue a message again."""

    QUEUED = "queued"
    NOT_FAILED = "not_failed"
    """It is pending, sent or cancelled, or there is no such message."""
    OPTED_OUT = "opted_out"
    """Its user wants no such messages any more."""
    NO_PROFILE = "no_profile"
    """Its user has no profile, so that nobody knows whether they want such messages."""
    OUTDATED = "outdated"
    """It is a goodbye, and its user does not wait for one any more."""


def bring_back(*, user_id: UUID, performed_by: str, now: datetime) -> Return:
    """Make a user active who has told somebody that they are back, as if they had written.

    The audit row names `performed_by`. An active user is left alone: how long they have been silent
    must not be set back without a trace.
    Transaction: opens one, or joins the caller's. Locks the state row, then messages; waits for them.
    Repeating changes nothing.
    Raises EngagementStateNotFound for a user without a state row, ValueError for a naive `now`.
    """
    require_aware(now)
    with transaction.atomic():
        user_states = lock_known_states(user_ids=[user_id])
        if not user_states:
            raise EngagementStateNotFound([user_id])
        if user_states[0].state == State.ACTIVE:
            return Return(None)
        moves = transition_states(
            user_states=user_states, trigger=Trigger.USER_MESSAGE, now=now, performed_by=performed_by
        )
        return Return(moves[0], cancel_pending(user_id=user_id, message_types=[MessageType.GOODBYE]))


def set_preference_manually(
    *, user_id: UUID, preference: Preference, now: datetime
) -> PreferenceChange | None:
    """Opt a user out or in who has told somebody so; None for who is already, since the date they said it.

    Transaction: opens one, or joins the caller's. Locks the user's state row, then the profile.
    Repeating changes nothing.
    Raises UserProfileNotFound for a user without a profile, ValueError for a naive `now`.
    """
    require_aware(now)
    wanted = preference is Preference.OPTED_OUT
    with transaction.atomic():
        lock_known_states(user_ids=[user_id])
        profiles = UserProfile.objects.filter(pk=user_id, reengagement_opt_out=wanted)
        if profiles.select_for_update(no_key=True).exists():
            return None
        return set_preference(user_id=user_id, preference=preference, now=now)


def retry_message(*, message_id: UUID, now: datetime) -> Retry:
    """Queue a failed message again, unless it makes no sense any more.

    Transaction: opens one, or joins the caller's. Locks the user's state row, then the profile and
    the message, in the order in which everybody does.
    Repeating: the message is pending then, and left alone.
    Raises ValueError for a naive `now`.
    """
    require_aware(now)
    with transaction.atomic():
        failed = EngagementMessage.objects.filter(pk=message_id, status=MessageStatus.FAILED)
        # Its parameters are for who writes it, and may be what Python cannot read.
        message = failed.only("user_id", "message_type").first()
        if message is None:
            return Retry.NOT_FAILED
        if reason := _reason_against(message, now=now):
            return reason
        return Retry.QUEUED if retry_messages(message_ids=[message_id], now=now) else Retry.NOT_FAILED


def _reason_against(message: EngagementMessage, *, now: datetime) -> Retry | None:
    """Why the message must not be sent any more, if so. Locks what the answer depends on."""
    user_states = lock_known_states(user_ids=[message.user_id])
    profiles = UserProfile.objects.filter(pk=message.user_id).select_for_update(no_key=True)
    opted_out = profiles.values_list("reengagement_opt_out", flat=True).first()
    if opted_out is not False and message.message_type in REENGAGEMENT:
        return Retry.OPTED_OUT if opted_out else Retry.NO_PROFILE
    waits = any(
        user_state.state == State.GOODBYE_SENT
        and user_state.goodbye_expires_at is not None
        and now < user_state.goodbye_expires_at
        for user_state in user_states
    )
    return Retry.OUTDATED if message.message_type == MessageType.GOODBYE and not waits else None
