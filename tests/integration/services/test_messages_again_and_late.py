"""Messages in that come twice, or later than newer ones."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
)
from tests.database import all_rows
from tests.factories import NOW, TICK, make_user, queue_for
from tests.integration.operation.undoing import undo
from tests.integration.services.users import STATES, a_user_in, hear, state_of, status_of_messages, stored
from tests.running import run_job
from tests.times import DAY, HOUR, SECOND

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


# The same message again.


@pytest.mark.parametrize("text", ["1", "2", "3", "oi", "parar", "voltar"])
@pytest.mark.parametrize("state", STATES)
def test_message_may_be_repeated(state: str, text: str) -> None:
    user = a_user_in(state)
    first = hear(user, text)
    before = (state_of(user), EngagementStateTransition.objects.count(), status_of_messages())
    again = hear(user, text, NOW, now=NOW + DAY)
    assert (again.transition, again.preference, again.reply_key) == (
        first.transition,
        first.preference,
        first.reply_key,
    )
    assert again.novelty == ("new" if state == "active" else "repeat")
    assert again.cancelled == 0
    assert (state_of(user), EngagementStateTransition.objects.count(), status_of_messages()) == before


def test_repetition_is_recognised_whatever_the_clock_says_and_the_job_did() -> None:
    user = make_user("goodbye_sent")
    ahead = NOW + timedelta(seconds=5)
    first = hear(user, "2", ahead, now=NOW)
    run_job(now=NOW + 15 * DAY)
    assert state_of(user) == "dormant"
    again = hear(user, "2", ahead.astimezone(timezone(timedelta(hours=9))), now=NOW + 16 * DAY)
    assert (again.novelty, again.transition, again.reply_key) == ("repeat", first.transition, first.reply_key)
    assert state_of(user) == "dormant"


def test_other_text_of_the_same_second_is_another_message() -> None:
    """WhatsApp's clock has whole seconds."""
    user = make_user("goodbye_sent")
    hear(user, "2")
    assert hear(user, "na verdade, oi").novelty == "new"
    assert state_of(user) == "active"
    hear(user, "2")
    assert state_of(user) == "active"


def test_same_text_at_another_time_is_another_message() -> None:
    user = make_user("goodbye_sent")
    hear(user, "2")
    assert hear(user, "2", NOW + SECOND).novelty == "new"
    assert state_of(user) == "active"


def test_same_words_of_another_user_are_no_repetition() -> None:
    one, other = make_user("goodbye_sent"), make_user("goodbye_sent")
    hear(one, "2")
    assert hear(other, "2").novelty == "new"
    assert state_of(other) == state_of(one)
    assert hear(one, "2", NOW, now=NOW + DAY).novelty == "repeat"


# Messages that come late.


def test_message_on_its_way_when_the_goodbye_was_said_cancels_it_and_does_not_answer_it() -> None:
    user = make_user("silent")
    run_job()
    result = hear(user, "2", NOW - SECOND, now=NOW + SECOND)
    assert (state_of(user), result.cancelled, result.reply_key) == ("active", 1, None)
    assert stored(user)["last_activity_at"] == NOW - SECOND


def test_who_came_back_while_the_goodbye_was_being_said_did_so_after_it_in_the_audit_log() -> None:
    """The caller takes the time, and then waits for the job, which has had the user locked since before."""
    user = make_user("silent")
    run_job()
    assert hear(user, "oi", NOW - SECOND, now=NOW - SECOND).novelty == "new"
    in_order = EngagementStateTransition.objects.order_by("created_at", "id")
    assert [move.trigger for move in in_order] == ["inactivity_14d", "user_message"]
    assert stored(user)["last_activity_at"] == NOW - SECOND


def test_who_came_back_while_they_were_timed_out_did_so_after_it_in_the_audit_log() -> None:
    user = make_user("goodbye_sent")
    run_job()
    assert hear(user, "2", NOW - SECOND, now=NOW - SECOND).reply_key is None
    in_order = EngagementStateTransition.objects.order_by("created_at", "id")
    assert [move.trigger for move in in_order] == ["goodbye_timeout", "user_message"]


def test_clock_that_is_behind_makes_no_answer_of_what_came_before_the_goodbye() -> None:
    user = make_user("silent")
    run_job()
    assert hear(user, "2", NOW + SECOND, now=NOW - SECOND).reply_key is None


@pytest.mark.parametrize("step", [-TICK, 0 * TICK])
def test_message_that_was_counted_takes_back_no_goodbye_that_came_after_it(step: timedelta) -> None:
    user = make_user("silent")
    run_job()
    before = all_rows()
    result = hear(user, "oi", user.last_activity_at + step, now=NOW + SECOND)
    assert (result.novelty, result.transition, result.reply_key, result.cancelled) == ("old", None, None, 0)
    assert all_rows() == before


@pytest.mark.parametrize("state", ["dormant", "help_flow", "remind_later"])
def test_who_was_put_into_a_state_by_another_program_is_brought_back_by_any_message(state: str) -> None:
    user = a_user_in(state, last_activity_at=NOW)
    assert hear(user, "oi", NOW).novelty == "new"
    assert state_of(user) == "active"


def test_message_as_old_as_the_last_activity_still_answers_a_later_goodbye() -> None:
    user = make_user("goodbye_sent", last_activity_at=NOW)
    assert hear(user, "3", NOW).reply_key == "engagement.reply.door_is_open"


def test_message_of_the_very_instant_of_the_goodbye_answers_it() -> None:
    user = make_user(
        "goodbye_sent", last_activity_at=NOW, goodbye_sent_at=NOW, goodbye_expires_at=NOW + 2 * DAY
    )
    assert hear(user, "3", NOW).reply_key == "engagement.reply.door_is_open"


def test_message_that_was_counted_does_not_bring_back_who_went_dormant_after_it() -> None:
    user = make_user("goodbye_sent")
    run_job()
    assert hear(user, "oi", user.last_activity_at, now=NOW + SECOND).novelty == "old"
    assert state_of(user) == "dormant"


def test_goodbye_queued_for_an_active_user_is_cancelled_by_the_very_message_that_was_counted() -> None:
    user = make_user(last_activity_at=NOW)
    queue_for(user, MessageType.GOODBYE)
    assert hear(user, "oi", NOW).cancelled == 1


def test_goodbye_queued_for_an_active_user_is_cancelled_by_a_message_that_comes_after_newer_ones() -> None:
    user = make_user("dormant")
    hear(user, "oi")
    queue_for(user, MessageType.GOODBYE)
    late = hear(user, "oi?", NOW - HOUR)
    assert (late.novelty, late.cancelled) == ("old", 1)
    assert EngagementMessage.objects.get().outcome_reason == "user_wrote"


def test_message_from_before_an_answer_does_not_undo_the_answer() -> None:
    user = make_user("goodbye_sent")
    hear(user, "2")
    before = all_rows()
    result = hear(user, "oi", NOW - TICK)
    assert (result.novelty, result.transition, result.reply_key) == ("old", None, None)
    assert all_rows() == before


@pytest.mark.parametrize(
    "metadata",
    [
        {"received_at": "2026-03-02T05:00:00", "text_digest": "abc"},
        {"received_at": "2026-02-30T05:00:00Z", "text_digest": "abc"},
        {"received_at": "9999999-01-01T00:00:00Z"},
        *({"received_at": "garbage"}, {"received_at": ""}, {"received_at": 5}, {"received_at": None}),
        *({"received_at": []}, {"received_at": {}}, ["received_at", "text_digest"], "received_at", 5),
    ],
    ids=str,
)
def test_a_strange_audit_row_of_another_program_keeps_no_message_from_being_received(metadata: Any) -> None:
    user = make_user("dormant")
    audit_row(user, metadata)
    assert hear(user, "stop").reply_key == "engagement.reply.opted_out"
    assert state_of(user) == "active"


def audit_row(user: UserEngagementState, metadata: Any) -> None:
    EngagementStateTransition.objects.create(
        user_id=user.user_id,
        from_state="goodbye_sent",
        to_state=user.state,
        trigger="goodbye_response_2",
        metadata=metadata,
        created_at=NOW - TICK,
    )


@pytest.mark.parametrize("received_at", ["2026-03-02T02:59:59-03:00", "2026-03-02T05:59:59.5+00:00"])
def test_message_from_before_an_answer_that_the_sql_functions_recorded_does_not_undo_it(
    received_at: str,
) -> None:
    user = make_user("remind_later")
    audit_row(user, {"received_at": received_at})
    # Passed over, although it is newer.
    audit_row(user, {"received_at": "garbage"})
    assert hear(user, "oi", NOW - 2 * SECOND, now=NOW).novelty == "old"
    assert state_of(user) == "remind_later"
    assert hear(user, "", datetime.fromisoformat(received_at)).novelty == "new"


def test_late_answer_to_a_goodbye_that_ran_out_brings_the_user_back() -> None:
    user = make_user("goodbye_sent")
    run_job()
    result = hear(user, "2", NOW - SECOND, now=NOW + SECOND)
    assert (state_of(user), result.reply_key) == ("active", None)


@pytest.mark.parametrize(("fallbacks", "novelty"), [([], "new"), (["older", "old"], "repeat")])
def test_repetition_is_recognised_after_a_change_of_the_secret_key(
    settings: Settings, fallbacks: list[str], novelty: str
) -> None:
    settings.SECRET_KEY = "old"  # noqa: S105
    user = make_user("goodbye_sent")
    hear(user, "2")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", fallbacks
    assert hear(user, "2", now=NOW + DAY).novelty == novelty


def user_sent_a_goodbye(how: str) -> UserEngagementState:
    """A user to whom a run has said goodbye now."""
    user = make_user("silent")
    run_job()
    goodbye = EngagementMessage.objects.filter(user_id=user.user_id)
    if how == "deleted":
        goodbye.delete()
    elif how != "pending":
        failed_at = NOW + HOUR if how == "failed" else None
        goodbye.update(status="sent", claimed_at=NOW + 9 * HOUR, failed_at=failed_at)
    return user


@pytest.mark.parametrize("state", ["goodbye_sent", "dormant", "help_flow"])
@pytest.mark.parametrize(
    ("how", "counts_from"),
    [("sent", NOW + 9 * HOUR), ("deleted", NOW), ("pending", NOW - 6 * DAY), ("failed", NOW - 6 * DAY)],
)
def test_message_under_way_when_the_goodbye_was_sent_counts_from_the_goodbye(
    state: str, how: str, counts_from: datetime
) -> None:
    """Two goodbyes are 14 days apart, however late the messages between them arrive."""
    user = user_sent_a_goodbye(how)
    if state == "dormant":
        run_job(now=NOW + 3 * DAY)
    if state == "help_flow":
        UserEngagementState.objects.update(state=state, goodbye_sent_at=None, goodbye_expires_at=None)
    assert hear(user, "oi", NOW - 6 * DAY, now=NOW + 4 * DAY).novelty == "new"
    assert (state_of(user), stored(user)["last_activity_at"]) == ("active", counts_from)
    moved = [run_job(now=counts_from + days * DAY + SECOND).succeeded for days in (13, 14)]
    assert moved == [0, 1]


def test_message_from_between_the_run_and_the_sending_counts_from_the_sending() -> None:
    user = user_sent_a_goodbye("sent")
    hear(user, "oi", NOW + HOUR, now=NOW + 10 * HOUR)
    assert stored(user)["last_activity_at"] == NOW + 9 * HOUR


def test_message_after_the_goodbye_counts_from_its_own_time_though_it_arrives_after_the_timeout() -> None:
    user = user_sent_a_goodbye("sent")
    run_job(now=NOW + 3 * DAY)
    hear(user, "oi", NOW + DAY, now=NOW + 4 * DAY)
    assert (state_of(user), stored(user)["last_activity_at"]) == ("active", NOW + DAY)


def test_goodbye_of_a_clock_that_was_ahead_makes_nobody_active_in_the_future() -> None:
    user = make_user("silent")
    run_job(now=NOW + 30 * DAY)
    EngagementMessage.objects.update(status="sent", claimed_at=NOW)
    hear(user, "oi", NOW - SECOND, now=NOW)
    assert stored(user)["last_activity_at"] == NOW


def test_state_from_a_run_that_was_undone_does_not_date_what_follows() -> None:
    """Its clock was a year ahead."""
    user = make_user("goodbye_sent")
    undo(run_job(now=NOW + 365 * DAY).job_id, now=NOW)
    run_job()
    assert state_of(user) == "dormant"
    move = hear(user, "oi", NOW + 5 * DAY, now=NOW + 5 * DAY).transition
    assert move
    assert (move.created_at, move.metadata["unprompted_return"]) == (NOW + 5 * DAY, True)


def test_clock_of_a_run_that_was_ahead_does_not_let_a_message_be_of_the_future() -> None:
    user = make_user("silent")
    run_job(now=NOW + 30 * DAY)
    hear(user, "oi", NOW + timedelta(hours=1), now=NOW)
    assert stored(user)["last_activity_at"] == NOW
