"""What the three checks do, with the instants around their thresholds."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.states import State
from tests.database import fail_moves_of
from tests.factories import NOW, TICK, make_user, make_users
from tests.running import run_job
from tests.times import DAY, HOUR

pytestmark = pytest.mark.django_db


COLUMNS = ("state", "last_activity_at", "goodbye_sent_at", "goodbye_expires_at", "remind_at", "updated_at")


def assert_untouched(user: UserEngagementState) -> None:
    before = [getattr(user, column) for column in COLUMNS]
    user.refresh_from_db()
    assert [getattr(user, column) for column in COLUMNS] == before
    assert not EngagementStateTransition.objects.exists()
    assert not EngagementMessage.objects.exists()


def test_thirteen_days_of_silence_change_nothing() -> None:
    user = make_user(last_activity_at=NOW - 13 * DAY)
    result = run_job()
    assert (result.processed, result.skipped.total) == (0, 0)
    assert_untouched(user)


def test_more_than_fourteen_days_of_silence_queue_one_goodbye() -> None:
    user = make_user(last_activity_at=NOW - 14 * DAY - TICK)
    result = run_job()
    assert (result.succeeded, result.failed, result.skipped.total) == (1, 0, 0)
    user.refresh_from_db()
    assert user.state == State.GOODBYE_SENT
    assert user.goodbye_sent_at == NOW
    assert user.goodbye_expires_at == NOW + 48 * HOUR
    message = EngagementMessage.objects.get()
    assert message.user_id == user.user_id
    assert message.message_type == "goodbye"
    assert message.message_key == "engagement.goodbye.self_select"
    assert message.message_params == {}
    assert message.destination == "individual"
    assert message.destination_jid == user.user.whatsapp_jid
    assert message.scheduled_for == NOW
    assert message.status == "pending"
    assert message.idempotency_key == f"{user.user_id}:goodbye_sent:2026-03-02"
    transition = EngagementStateTransition.objects.get()
    assert (transition.from_state, transition.to_state) == ("active", "goodbye_sent")
    assert transition.trigger == "inactivity_14d"
    assert transition.created_at == NOW
    assert transition.metadata == {
        "days_inactive": 14,
        "trigger_source": "scheduler",
        "job_id": str(result.job_id),
        "goodbye_message_id": str(EngagementMessage.objects.get().pk),
    }


@pytest.mark.parametrize("later", [timedelta(0), TICK, DAY], ids=["at once", "a moment later", "next day"])
def test_second_run_queues_no_second_goodbye(later: timedelta) -> None:
    make_user("silent")
    run_job()
    assert run_job(now=NOW + later).processed == 0
    assert EngagementMessage.objects.count() == 1
    assert EngagementStateTransition.objects.count() == 1


def test_opted_out_user_is_skipped_and_counted() -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    result = run_job()
    assert (result.processed, result.skipped.opted_out, result.skipped.total) == (0, 1, 1)
    assert_untouched(user)


def test_goodbye_of_47_hours_ago_does_not_time_out() -> None:
    user = make_user("goodbye_sent", goodbye_expires_at=NOW + HOUR)
    assert run_job().processed == 0
    assert_untouched(user)


def test_unanswered_goodbye_makes_the_user_dormant_after_48_hours_without_a_message() -> None:
    user = make_user("goodbye_sent")
    assert run_job().succeeded == 1
    user.refresh_from_db()
    assert user.state == State.DORMANT
    assert (user.goodbye_sent_at, user.goodbye_expires_at, user.remind_at) == (None, None, None)
    assert not EngagementMessage.objects.exists()
    transition = EngagementStateTransition.objects.get()
    assert transition.trigger == "goodbye_timeout"
    assert transition.metadata["response_type"] == "timeout"
    assert transition.metadata["hours_waited"] == 48
    assert transition.metadata["days_since_goodbye"] == 2


def test_due_reminder_makes_the_user_dormant_without_a_message() -> None:
    user = make_user("remind_later")
    assert run_job().succeeded == 1
    user.refresh_from_db()
    assert (user.state, user.remind_at) == (State.DORMANT, None)
    assert not EngagementMessage.objects.exists()
    transition = EngagementStateTransition.objects.get()
    assert transition.trigger == "reminder_due"
    assert transition.metadata["former_timestamps"] == {"remind_at": (NOW - TICK).isoformat()}


def test_one_user_fails_and_all_others_are_moved() -> None:
    users = make_users(9, "silent")
    fail_moves_of(users[4])
    result = run_job()
    assert (result.succeeded, result.failed, result.status) == (8, 1, "partial")
    assert [failure.user_id for failure in result.errors] == [users[4].user_id]
    stays = UserEngagementState.objects.exclude(state=State.GOODBYE_SENT).get()
    assert (stays.user_id, stays.state) == (users[4].user_id, State.ACTIVE)
    messaged = set(EngagementMessage.objects.values_list("user_id", flat=True))
    assert messaged == {user.user_id for user in users} - {users[4].user_id}
    assert EngagementStateTransition.objects.count() == 8


@pytest.mark.parametrize(("step", "moved"), [(TICK, 0), (0 * TICK, 0), (-TICK, 1)])
@pytest.mark.parametrize(
    ("trait", "column", "threshold"),
    [
        (None, "last_activity_at", NOW - 14 * DAY),
        ("goodbye_sent", "goodbye_expires_at", NOW),
        ("remind_later", "remind_at", NOW),
    ],
)
def test_user_exactly_at_the_threshold_is_not_due(
    trait: str | None, column: str, threshold: datetime, step: timedelta, moved: int
) -> None:
    make_user(*filter(None, [trait]), **{column: threshold + step})
    assert run_job().succeeded == moved


@pytest.mark.parametrize("jid", [None, ""], ids=["null", "empty"])
def test_unreachable_user_is_skipped_and_counted(jid: str | None) -> None:
    user = make_user("silent", user__whatsapp_jid=jid)
    result = run_job()
    assert (result.processed, result.skipped.no_destination, result.skipped.total) == (0, 1, 1)
    assert_untouched(user)


def test_opted_out_and_unreachable_user_is_counted_once_as_opted_out() -> None:
    make_user("silent", user__reengagement_opt_out=True, user__whatsapp_jid=None)
    assert run_job().skipped == (1, 0)


def test_opted_out_user_who_is_not_due_is_not_counted_as_skipped() -> None:
    make_user(user__reengagement_opt_out=True)
    assert run_job().skipped.total == 0


@pytest.mark.parametrize("trait", ["goodbye_sent", "remind_later"])
@pytest.mark.parametrize(
    "profile", [{"user__reengagement_opt_out": True}, {"user__whatsapp_jid": None}], ids=str
)
def test_timeouts_ignore_opt_out_and_address(trait: str, profile: dict[str, object]) -> None:
    user = make_user(trait, **profile)
    assert run_job().succeeded == 1
    user.refresh_from_db()
    assert user.state == State.DORMANT


@pytest.mark.parametrize("trait", ["help_flow", "dormant"])
def test_no_check_ends(trait: str) -> None:
    user = make_user(trait)
    assert run_job(now=NOW + 1000 * DAY).processed == 0
    assert_untouched(user)


def test_group_user_gets_the_goodbye_in_the_group() -> None:
    make_user("silent", user__preferred_destination="group", user__whatsapp_jid="99912345@g.us")
    run_job()
    message = EngagementMessage.objects.get()
    assert (message.destination, message.destination_jid) == ("group", "99912345@g.us")


def test_user_moves_at_most_once_per_run() -> None:
    make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_user("remind_later")
    result = run_job(now=NOW + 1000 * DAY)
    moved = EngagementStateTransition.objects.values_list("user_id", flat=True)
    assert (result.succeeded, len(moved), len(set(moved))) == (6, 6, 6)


def test_counts_add_up_over_the_checks() -> None:
    make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_user("remind_later")
    make_user("silent", user__whatsapp_jid=None)
    result = run_job().as_json()
    assert result["checks"] == {
        "inactivity_14d": {"processed": 3, "succeeded": 3, "failed": 0, "skipped": 1},
        "goodbye_timeout": {"processed": 2, "succeeded": 2, "failed": 0, "skipped": 0},
        "reminder_due": {"processed": 1, "succeeded": 1, "failed": 0, "skipped": 0},
    }
    assert (result["processed"], result["succeeded"], result["skipped"]) == (6, 6, 1)


def test_goodbye_already_queued_today_is_not_queued_again() -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.filter(pk=user.pk).update(state=State.ACTIVE)
    assert run_job(now=NOW + HOUR).succeeded == 1
    assert EngagementMessage.objects.count() == 1
