"""Manual actions of support people: mark a user as active, opt them out or in, retry a failed message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction

from engagement.conf import engagement_settings
from engagement.models import EngagementMessage, MessageStatus, MessageType, UserProfile
from engagement.replies import Preference
from engagement.selectors import goodbyes
from engagement.selectors.due_users import lock_states_of, read_user_states, states_of
from engagement.services.message_queue import BY_STAFF, cancel_pending, retry_messages
from engagement.services.preferences import REENGAGEMENT, PreferenceSource, set_preference
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.state_machine import (
    EngagementStateNotFound,
    transition_states,
)
from engagement.states import State, Trigger, require_aware

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from engagement.services.preferences import PreferenceChange
    from engagement.states import Transition, UserState


@dataclass(frozen=True, slots=True)
class MarkedActive:
    """The effect of marking a user as active."""

    transition: Transition | None
    """None for a user who was active already."""
    cancelled: int = 0
    """How many pending goodbyes were cancelled."""


class Retry(StrEnum):
    """The effect of retrying a message."""

    QUEUED = "queued"
    NOT_FAILED = "not_failed"
    """The message is pending, sent or cancelled, or does not exist."""
    OPTED_OUT = "opted_out"
    """The user has opted out of such messages."""
    NO_PROFILE = "no_profile"
    """The user has no profile that would say whether they want such messages."""
    OUTDATED = "outdated"
    """The message is a goodbye, but not that of the user's present wait, or the wait is over."""


@retry_own_transaction
def bring_back(*, user_id: UUID, performed_by: str, now: datetime) -> MarkedActive:
    """Make a user active, as a message from them would. The audit row names `performed_by`.

    An active user is unchanged: their silence must not be reset without an audit row.
    Transaction: opens one, or joins the caller's. Locks the state row, then messages; waits for them.
    Repeatable. Raises EngagementStateNotFound for a user without a state row, ValueError for a naive
    `now`.
    """
    require_aware(now)
    with transaction.atomic():
        user_states = lock_states_of([user_id])
        if not user_states:
            raise EngagementStateNotFound([user_id])
        if user_states[0].state == State.ACTIVE:
            return MarkedActive(None)
        transitions = transition_states(
            user_states=user_states,
            trigger=Trigger.USER_MESSAGE,
            now=now,
            policy=engagement_settings().policy,
            performed_by=performed_by,
        )
        cancelled = cancel_pending(user_id=user_id, message_types=[MessageType.GOODBYE], reason=BY_STAFF)
        return MarkedActive(transitions[0], cancelled)


@retry_own_transaction
def set_preference_manually(
    *, user_id: UUID, preference: Preference, now: datetime
) -> PreferenceChange | None:
    """Opt a user out or in on their behalf. Returns None, and keeps the date, if they are already.

    Transaction: opens one, or joins the caller's. Locks the user's state row, then the profile.
    Repeatable. Raises UserProfileNotFound for a user without a profile, ValueError for a naive `now`.
    """
    require_aware(now)
    wanted = preference is Preference.OPTED_OUT
    with transaction.atomic():
        lock_states_of([user_id])
        profiles = UserProfile.objects.filter(pk=user_id, reengagement_opt_out=wanted)
        if profiles.select_for_update(no_key=True).exists():
            return None
        return set_preference(
            user_id=user_id, preference=preference, now=now, source=PreferenceSource.SUPPORT
        )


@retry_own_transaction
def retry_message(*, message_id: UUID, now: datetime) -> Retry:
    """Make a failed message pending again, unless the user no longer needs it.

    Transaction: opens one, or joins the caller's. Locks the state row, the profile and the message, in
    the order of all writers. Repeatable: a pending message is unchanged.
    Raises ValueError for a naive `now`.
    """
    require_aware(now)
    with transaction.atomic():
        failed = EngagementMessage.objects.filter(pk=message_id, status=MessageStatus.FAILED)
        message = failed.only("user_id", "message_type").first()
        if message is None:
            return Retry.NOT_FAILED
        if reason := _reason_against(message, now=now):
            return reason
        return Retry.QUEUED if retry_messages(message_ids=[message_id], now=now) else Retry.NOT_FAILED


def why_not_retry(messages: Collection[EngagementMessage], *, now: datetime) -> dict[UUID, Retry]:
    """By message: why `retry_message` would refuse it now, as far as nothing changes meanwhile.

    A constant number of statements for all messages of one user. Locks nothing and writes nothing.
    """
    user_ids = {message.user_id for message in messages}
    user_states = read_user_states(states_of(user_ids))
    awaited = _awaited(user_states, now=now)
    profiles = UserProfile.objects.filter(pk__any_of=user_ids)
    opted_out = dict(profiles.values_list("pk", "reengagement_opt_out"))
    refusals = {
        message.pk: _refusal(message, opted_out=opted_out.get(message.user_id), awaited=awaited)
        for message in messages
    }
    return {message_id: refusal for message_id, refusal in refusals.items() if refusal}


def _reason_against(message: EngagementMessage, *, now: datetime) -> Retry | None:
    """Why the message must not be sent any more, if there is a reason. Locks what that depends on."""
    user_states = lock_states_of([message.user_id])
    profiles = UserProfile.objects.filter(pk=message.user_id).select_for_update(no_key=True)
    opted_out = profiles.values_list("reengagement_opt_out", flat=True).first()
    return _refusal(message, opted_out=opted_out, awaited=_awaited(user_states, now=now))


def _refusal(
    message: EngagementMessage, *, opted_out: bool | None, awaited: Collection[UUID]
) -> Retry | None:
    """`opted_out` is None without a profile."""
    if opted_out is not False and message.message_type in REENGAGEMENT:
        return Retry.OPTED_OUT if opted_out else Retry.NO_PROFILE
    if message.message_type == MessageType.GOODBYE and message.pk not in awaited:
        return Retry.OUTDATED
    return None


def _awaited(user_states: Sequence[UserState], *, now: datetime) -> set[UUID]:
    """The ids of the goodbyes of open waits."""
    open_waits = [
        user_state
        for user_state in user_states
        if user_state.state == State.GOODBYE_SENT
        and user_state.goodbye_expires_at is not None
        and now < user_state.goodbye_expires_at
    ]
    return {goodbye.id for goodbye in goodbyes.goodbyes_of_waits(open_waits).values()}
