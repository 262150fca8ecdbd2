"""docs/sql/functions.sql does what the services do: the same states, dates, audit rows and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import DataError, transaction

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    UserEngagementState,
)
from engagement.selectors.deliveries import database_now
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.inbound_messages import receive_message
from tests.factories import UserProfileFactory, make_user, queue_for
from tests.integration.adoption.sql_functions import TEXTS, call, comparable, create_functions
from tests.integration.operation.undoing import undo
from tests.running import run_job
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def functions() -> None:
    create_functions()


def user_in(
    state: str, *, since: datetime, goodbye: MessageStatus = MessageStatus.SENT
) -> UserEngagementState:
    """A user who came into a state then, and was silent for 20 days before."""
    times: dict[str, Any] = {
        "goodbye_sent": {"goodbye_sent_at": since, "goodbye_expires_at": since + 2 * DAY},
        "remind_later": {"remind_at": since + 14 * DAY},
    }.get(state, {})
    user = make_user(state=state, last_activity_at=since - 20 * DAY, **times)
    if state == "goodbye_sent":
        queue_for(
            user,
            MessageType.GOODBYE,
            idempotency_key=goodbye_key(user.user_id, now=since),
            created_at=since,
            status=goodbye,
            claimed_at=None if goodbye == MessageStatus.PENDING else since,
        )
    if state == "dormant":
        came_into(user, "dormant", since)
    return user


def came_into(user: UserEngagementState, state: str, at: datetime) -> None:
    EngagementStateTransition.objects.create(
        user_id=user.user_id,
        from_state="active",
        to_state=state,
        trigger="inactivity_14d",
        created_at=at,
    )


@pytest.mark.parametrize("goodbye", [MessageStatus.SENT, MessageStatus.PENDING, MessageStatus.FAILED])
@pytest.mark.parametrize("trigger", TEXTS)
@pytest.mark.parametrize("state", ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"])
def test_a_message_does_what_receive_message_does(state: str, trigger: str, goodbye: MessageStatus) -> None:
    now = database_now()
    ours, theirs = (user_in(state, since=now - 5 * DAY, goodbye=goodbye) for _ in range(2))
    receive_message(user_id=ours.user_id, text=TEXTS[trigger], received_at=now, now=now)
    assert call("engagement_user_wrote", theirs.user_id, trigger, now) == stored(ours)["state"]
    assert comparable(ours.user_id) == comparable(theirs.user_id)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return dict(UserEngagementState.objects.filter(pk=user.pk).values().get())


def test_a_late_message_of_an_active_user_cancels_a_goodbye_there_too() -> None:
    now = database_now()
    users = [user_in("dormant", since=now - 5 * DAY) for _ in range(2)]
    for text, trigger, at in (("oi", "user_message", now - HOUR), ("oi?", "user_message", now - 2 * HOUR)):
        for user in users:
            queue_for(user, MessageType.GOODBYE)
        receive_message(user_id=users[0].user_id, text=text, received_at=at, now=now)
        call("engagement_user_wrote", users[1].user_id, trigger, at)
    assert set(EngagementMessage.objects.values_list("status", "outcome_reason")) == {
        ("cancelled", "user_wrote")
    }


@pytest.mark.parametrize("is_timed_out", [False, True])
@pytest.mark.parametrize("goodbye", ["sent", "failed", "deleted"])
def test_a_message_under_way_when_a_goodbye_was_sent_does_what_it_does_there(
    goodbye: str, *, is_timed_out: bool
) -> None:
    now = database_now()
    since = now - 5 * DAY
    status = MessageStatus.FAILED if goodbye == "failed" else MessageStatus.SENT
    users = [user_in("goodbye_sent", since=since, goodbye=status) for _ in range(2)]
    if goodbye == "deleted":
        EngagementMessage.objects.all().delete()
    if is_timed_out:
        for user in users:
            came_into(user, "goodbye_sent", since)
        run_job(now=now - DAY)
    receive_message(user_id=users[0].user_id, text="oi", received_at=now - 6 * DAY, now=now)
    call("engagement_user_wrote", users[1].user_id, "user_message", now - 6 * DAY)
    active_at = now - 6 * DAY if goodbye == "failed" else since.replace(microsecond=0)
    assert [stored(user)["last_activity_at"] for user in users] == [active_at] * 2


def test_a_state_from_a_run_that_was_undone_dates_nothing_there_either() -> None:
    now = database_now()
    users = [user_in("goodbye_sent", since=now - 5 * DAY, goodbye=MessageStatus.PENDING) for _ in range(2)]
    undo(run_job(now=now + 365 * DAY).job_id, now=now)
    run_job(now=now - DAY)
    assert {stored(user)["state"] for user in users} == {"dormant"}
    receive_message(user_id=users[0].user_id, text="oi", received_at=now, now=now)
    call("engagement_user_wrote", users[1].user_id, "user_message", now)
    returns = EngagementStateTransition.objects.filter(trigger="user_message")
    assert [abs(move.created_at - now) < HOUR for move in returns] == [True, True]


@pytest.mark.parametrize("state", ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"])
@pytest.mark.parametrize("days_ago", [0, 4, 6, 30])
def test_a_late_message_does_what_it_does_there(state: str, days_ago: int) -> None:
    """The user came into their state five days ago and was last active twenty days before that."""
    now = database_now()
    heard_at = now - days_ago * DAY
    ours, theirs = (user_in(state, since=now - 5 * DAY) for _ in range(2))
    receive_message(user_id=ours.user_id, text="oi", received_at=heard_at, now=now)
    call("engagement_user_wrote", theirs.user_id, "user_message", heard_at)
    assert comparable(ours.user_id) == comparable(theirs.user_id)


def test_a_message_from_before_an_answer_does_not_end_what_the_answer_began() -> None:
    now = database_now()
    ours, theirs = (user_in("goodbye_sent", since=now - 5 * DAY) for _ in range(2))
    both = (("2", "goodbye_response_2", now - HOUR), ("oi", "user_message", now - 2 * HOUR))
    for text, trigger, at in both:
        receive_message(user_id=ours.user_id, text=text, received_at=at, now=now)
        call("engagement_user_wrote", theirs.user_id, trigger, at)
    assert stored(ours)["state"] == stored(theirs)["state"] == "remind_later"


@pytest.mark.parametrize("first", ["service", "function"])
def test_an_answer_through_the_service_is_known_to_the_function_and_its_own_too(first: str) -> None:
    now = database_now()
    user = user_in("goodbye_sent", since=now - 5 * DAY)
    if first == "service":
        receive_message(user_id=user.user_id, text="2", received_at=now - HOUR, now=now)
    else:
        call("engagement_user_wrote", user.user_id, "goodbye_response_2", now - HOUR)
    assert call("engagement_user_wrote", user.user_id, "user_message", now - 2 * HOUR) == "remind_later"
    assert call("engagement_user_wrote", user.user_id, "user_message", now - HOUR / 2) == "active"


@pytest.mark.parametrize("status", ["pending", "failed", "cancelled", "sent"])
def test_the_goodbye_with_the_key_of_the_day_counts_also_if_it_is_older_than_the_wait(status: str) -> None:
    now = database_now()
    began_at = (now - 3 * DAY).replace(hour=12)
    ours, theirs = (user_in("goodbye_sent", since=began_at, goodbye=MessageStatus(status)) for _ in range(2))
    EngagementMessage.objects.update(created_at=began_at - HOUR)
    receive_message(user_id=ours.user_id, text="2", received_at=now, now=now)
    call("engagement_user_wrote", theirs.user_id, "goodbye_response_2", now)
    assert stored(ours)["state"] == ("remind_later" if status == "sent" else "active")
    assert comparable(ours.user_id) == comparable(theirs.user_id)


def test_the_goodbye_with_the_key_of_the_day_counts_instead_of_a_newer_one() -> None:
    now = database_now()
    users = [user_in("goodbye_sent", since=now - DAY, goodbye=MessageStatus.SENDING) for _ in range(2)]
    for user in users:
        queue_for(user, MessageType.GOODBYE, created_at=now - HOUR, status=MessageStatus.FAILED)
    receive_message(user_id=users[0].user_id, text="2", received_at=now, now=now)
    assert call("engagement_user_wrote", users[1].user_id, "goodbye_response_2", now) == "remind_later"
    assert comparable(users[0].user_id) == comparable(users[1].user_id)


@pytest.mark.parametrize("received_at", [1764000000, "garbage", "2026-02-30T25:00:00+00:00", "now", None, []])
def test_metadata_of_other_programs_that_holds_no_time_is_ignored(received_at: Any) -> None:
    now = database_now()
    user = user_in("dormant", since=now - 5 * DAY)
    EngagementStateTransition.objects.update(metadata={"received_at": received_at})
    assert call("engagement_user_wrote", user.user_id, "user_message", now) == "active"


def test_a_first_message_makes_the_state_and_an_unknown_user_is_null() -> None:
    profile = UserProfileFactory.create()
    assert call("engagement_user_wrote", profile.user_id, "user_message", database_now()) == "active"
    assert UserEngagementState.objects.get().user_id == profile.user_id
    assert call("engagement_user_wrote", uuid4(), "user_message", database_now()) is None


def test_an_unknown_trigger_is_an_error() -> None:
    for state in ("goodbye_sent", "active"):
        user = user_in(state, since=database_now() - DAY)
        for trigger in ("goodbye_timeout", None):
            with pytest.raises(DataError, match="unknown trigger"), transaction.atomic():
                call("engagement_user_wrote", user.user_id, trigger, database_now())
