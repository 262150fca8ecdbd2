"""What a person does by hand: bring users back, opt them out and in, queue failed messages again."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType
from engagement.replies import Preference
from engagement.services.message_queue import cancel_messages, cancel_pending, retry_messages
from engagement.services.preferences import PreferenceChange, UserProfileNotFound
from engagement.services.state_machine import EngagementStateNotFound
from engagement.services.support import Retry, bring_back, retry_message, set_preference_manually
from engagement.states import State
from tests.factories import NOW, TICK, EngagementMessageFactory, make_user, queue_for

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting() -> UserEngagementState:
    """Told goodbye, with an instant left to answer."""
    return make_user("goodbye_sent", goodbye_expires_at=NOW + TICK)


def failed(user: UserEngagementState, message_type: MessageType = MessageType.GOODBYE) -> UUID:
    return queue_for(user, message_type, status="failed", error_message="busy").pk


@pytest.mark.parametrize("state", ["goodbye_sent", "help_flow", "remind_later", "dormant"])
def test_user_is_brought_back_from_every_state(state: str) -> None:
    user = make_user(state)
    outcome = bring_back(user_id=user.user_id, performed_by="ada", now=NOW)
    user.refresh_from_db()
    assert (user.state, user.last_activity_at) == (State.ACTIVE, NOW)
    assert outcome.transition is not None
    assert EngagementStateTransition.objects.get().metadata["performed_by"] == "ada"


def test_bringing_back_twice_moves_once() -> None:
    user = make_user("dormant")
    bring_back(user_id=user.user_id, performed_by="ada", now=NOW)
    again = bring_back(user_id=user.user_id, performed_by="ada", now=NOW + timedelta(days=1))
    assert (again.transition, again.cancelled) == (None, 0)
    user.refresh_from_db()
    assert user.last_activity_at == NOW
    assert EngagementStateTransition.objects.count() == 1


def test_bringing_back_cancels_the_pending_goodbye_alone(waiting: UserEngagementState) -> None:
    queue_for(waiting, MessageType.GOODBYE)
    queue_for(waiting, MessageType.WELCOME)
    assert bring_back(user_id=waiting.user_id, performed_by="ada", now=NOW).cancelled == 1
    assert EngagementMessage.objects.get(status="pending").message_type == "welcome"


def test_who_is_brought_back_by_hand_has_not_come_unprompted() -> None:
    dormant = make_user("dormant", last_activity_at=NOW - timedelta(days=90))
    outcome = bring_back(user_id=dormant.user_id, performed_by="ada", now=NOW)
    assert outcome.transition is not None
    assert "unprompted_return" not in outcome.transition.metadata


@pytest.mark.parametrize("preference", Preference)
def test_wish_is_done_once_and_keeps_its_date(preference: Preference) -> None:
    user = make_user(user__reengagement_opt_out=preference is Preference.OPTED_IN)
    queue_for(user, MessageType.REMINDER)
    wish = partial(set_preference_manually, user_id=user.user_id, preference=preference)
    cancelled = 1 if preference is Preference.OPTED_OUT else 0
    assert wish(now=NOW) == PreferenceChange(is_applied=True, cancelled=cancelled)
    assert wish(now=NOW + timedelta(days=90)) is None
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out is (preference is Preference.OPTED_OUT)
    assert user.user.opt_out_changed_at == NOW


def test_wish_of_nobody_is_refused() -> None:
    with pytest.raises(UserProfileNotFound):
        set_preference_manually(user_id=uuid7(), preference=Preference.OPTED_OUT, now=NOW)


def test_user_without_a_state_cannot_be_brought_back() -> None:
    with pytest.raises(EngagementStateNotFound):
        bring_back(user_id=uuid7(), performed_by="ada", now=NOW)


def test_naive_time_is_refused(waiting: UserEngagementState) -> None:
    naive = datetime(2026, 3, 2, 6)  # noqa: DTZ001  the point of the test
    message_id = failed(waiting)
    with pytest.raises(ValueError, match="offset"):
        bring_back(user_id=waiting.user_id, performed_by="ada", now=naive)
    with pytest.raises(ValueError, match="offset"):
        retry_message(message_id=message_id, now=naive)
    with pytest.raises(ValueError, match="no offset"):
        set_preference_manually(user_id=waiting.user_id, preference=Preference.OPTED_OUT, now=naive)


def test_failed_goodbye_is_queued_again_while_it_is_waited_for(waiting: UserEngagementState) -> None:
    message_id = failed(waiting)
    assert retry_message(message_id=message_id, now=NOW) is Retry.QUEUED
    message = EngagementMessage.objects.get()
    assert (message.status, message.scheduled_for, message.error_message) == ("pending", NOW, None)
    assert retry_message(message_id=message_id, now=NOW) is Retry.NOT_FAILED


@pytest.mark.parametrize("state", ["help_flow", "remind_later", "dormant"])
def test_goodbye_is_not_said_to_who_has_moved_on(state: str) -> None:
    message_id = failed(make_user(state))
    assert retry_message(message_id=message_id, now=NOW) is Retry.OUTDATED
    assert EngagementMessage.objects.get().status == "failed"


def test_goodbye_is_not_said_when_its_time_is_over(waiting: UserEngagementState) -> None:
    assert retry_message(message_id=failed(waiting), now=NOW + TICK) is Retry.OUTDATED


def test_nothing_unwanted_is_queued_again(waiting: UserEngagementState) -> None:
    waiting.user.reengagement_opt_out = True
    waiting.user.save()
    assert retry_message(message_id=failed(waiting), now=NOW) is Retry.OPTED_OUT
    assert retry_message(message_id=failed(waiting, MessageType.WELCOME), now=NOW) is Retry.QUEUED


def test_nothing_is_queued_again_that_somebody_unknown_may_not_want() -> None:
    goodbye, welcome = (
        EngagementMessageFactory.create(user_id=uuid7(), message_type=message_type, status="failed").pk
        for message_type in (MessageType.GOODBYE, MessageType.WELCOME)
    )
    assert retry_message(message_id=goodbye, now=NOW) is Retry.NO_PROFILE
    assert retry_message(message_id=welcome, now=NOW) is Retry.QUEUED


def test_message_that_does_not_exist_has_not_failed() -> None:
    assert retry_message(message_id=uuid7(), now=NOW) is Retry.NOT_FAILED


@pytest.mark.parametrize("status", ["pending", "sent", "cancelled"])
def test_only_failed_messages_are_queued_again(waiting: UserEngagementState, status: str) -> None:
    message = queue_for(waiting, MessageType.GOODBYE, status=status)
    assert retry_message(message_id=message.pk, now=NOW) is Retry.NOT_FAILED
    assert retry_messages(message_ids=[message.pk], now=NOW) == 0
    assert EngagementMessage.objects.filter(status=status, scheduled_for=message.scheduled_for).exists()


def test_only_the_message_named_is_queued_again_and_for_now(waiting: UserEngagementState) -> None:
    named, other = failed(waiting), failed(waiting, MessageType.WELCOME)
    assert retry_messages(message_ids=[named], now=NOW + TICK) == 1
    assert EngagementMessage.objects.get(status="pending", scheduled_for=NOW + TICK).pk == named
    assert EngagementMessage.objects.get(status="failed").pk == other


@pytest.mark.parametrize(("tried", "counted"), [(0, 1), (3, 3)])
def test_message_that_is_queued_again_keeps_nothing_of_its_failure_but_that_it_was_tried(
    waiting: UserEngagementState, tried: int, counted: int
) -> None:
    former = dict.fromkeys(("error_message", "error_code", "outcome_reason"), "busy")
    message = queue_for(
        waiting, MessageType.WELCOME, status="failed", retry_count=tried, next_attempt_at=NOW, **former
    )
    assert retry_messages(message_ids=[message.pk], now=NOW) == 1
    message.refresh_from_db()
    assert message.retry_count == counted
    assert message.next_attempt_at is None
    assert {getattr(message, name) for name in former} == {None}


@pytest.mark.parametrize(("status", "count"), [("pending", 1), ("sent", 0), ("failed", 0), ("cancelled", 0)])
def test_only_pending_messages_are_cancelled(waiting: UserEngagementState, status: str, count: int) -> None:
    message = queue_for(waiting, MessageType.WELCOME, status=status)
    assert cancel_messages(message_ids=[message.pk]) == count


@pytest.mark.parametrize("status", ["pending", "sent", "cancelled"])
def test_goodbye_that_has_not_failed_is_not_called_outdated(status: str) -> None:
    message = queue_for(make_user("dormant"), MessageType.GOODBYE, status=status)
    assert retry_message(message_id=message.pk, now=NOW) is Retry.NOT_FAILED


def test_all_types_are_cancelled_unless_some_are_named(waiting: UserEngagementState) -> None:
    for message_type in MessageType:
        queue_for(waiting, message_type)
    assert cancel_pending(user_id=waiting.user_id, message_types=[MessageType.WELCOME]) == 1
    assert cancel_pending(user_id=waiting.user_id) == len(MessageType) - 1
