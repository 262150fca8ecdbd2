"""A run is taken back: who goes back, who is left alone, and what becomes of the messages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.selectors import audit_log, run_transitions
from engagement.selectors.run_transitions import transition_ids_after
from engagement.services.state_machine import transition_state
from engagement.services.undo.undo_run import UnknownRun
from engagement.states import Trigger
from tests.database import all_rows, fail_moves_of, rows_read, seem_empty, truncate_users
from tests.factories import NOW, TICK, make_user, make_users
from tests.integration.operation.random_users import (
    compared_with_the_job,
    instants,
    make_all,
    taken_back,
    users,
)
from tests.integration.operation.undoing import LATER, all_users, not_undone, stored, undo
from tests.running import run_job
from tests.times import DAY

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_django.fixtures import Settings


pytestmark = pytest.mark.django_db

MOVED: Final = {"quick": 2_500, "middle": 10_000, "full": 10_000}
"""More than two batches of the default size."""


def test_undo_of_a_large_run_leaves_every_user_and_message_as_before(request: pytest.FixtureRequest) -> None:
    count = MOVED[request.config.getoption("--faults")]
    make_users(count - 1_000, "silent")
    make_users(500, "goodbye_sent")
    make_users(500, "remind_later")
    make_users(20, "silent", user__whatsapp_jid=None)
    make_users(20)
    users_before, rows_before = all_users(), all_rows()
    job_id = run_job().job_id
    moves = EngagementStateTransition.objects.count()
    result = undo(job_id)
    assert (result.status, result.counts.undone, result.counts.messages_cancelled) == (
        "succeeded",
        moves,
        count - 1_000,
    )
    assert (moves, result.counts.failed, not_undone(result)) == (count, 0, {})
    assert all_users() == users_before
    assert EngagementStateTransition.objects.filter(trigger="run_undone").count() == moves
    assert rows_before[2:] == [[], []]
    assert set(EngagementMessage.objects.values_list("status", flat=True)) == {"cancelled"}


def test_undo_reads_few_rows_for_each_user_whatever_the_statistics_say() -> None:
    truncate_users()
    make_users(2_000, "silent")
    run_job()
    seem_empty("user_engagement_states", "engagement_state_transitions", "engagement_message_queue")
    make_users(2_000, "silent")
    job_id = run_job().job_id
    before = rows_read()
    assert undo(job_id).counts.undone == 2_000
    assert rows_read() - before < 2_000 * 50


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=8), now=instants)
def test_undo_puts_everybody_back_whatever_they_were(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        make_all(rows)
        before = all_users()
        result = run_job(now=now)
        if result.succeeded:
            assert undo(result.job_id).counts.undone == result.succeeded
        assert all_users() == before
        # And they are due again, as they were.
        assert run_job(now=now).succeeded == result.succeeded


def test_transition_that_is_erased_meanwhile_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_user("silent")
    job_id = run_job().job_id
    (moved,) = transition_ids_after(job_id, after=None, size=1)
    answers = iter([[str(uuid4()), moved]])
    monkeypatch.setattr(run_transitions, "transition_ids_after", lambda *_, **__: next(answers, []))
    result = undo(job_id)
    assert (result.counts.undone, not_undone(result)) == (1, {"deleted": 1})


def test_move_back_has_an_audit_row_that_names_run_and_operator() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    undo(job_id)
    move, move_back = EngagementStateTransition.objects.order_by("created_at")
    assert (move_back.user_id, move_back.from_state, move_back.to_state, move_back.trigger) == (
        user.user_id,
        "goodbye_sent",
        "active",
        "run_undone",
    )
    assert move_back.created_at == stored(user).updated_at == LATER
    assert move_back.metadata == {
        "days_inactive": 14,
        "trigger_source": "operator",
        "undone_job_id": str(job_id),
        "undone_transition_id": str(move.id),
        "former_timestamps": {
            "goodbye_sent_at": "2026-03-02T06:00:00+00:00",
            "goodbye_expires_at": "2026-03-04T06:00:00+00:00",
        },
    }


def test_move_back_is_not_counted_as_a_move_of_the_run() -> None:
    make_users(3, "silent")
    job_id = run_job().job_id
    undo(job_id)
    assert Counter(audit_log.transitions_of_run(job_id).values_list("trigger", flat=True)) == {
        "inactivity_14d": 3
    }


def test_dry_run_says_the_same_and_writes_nothing() -> None:
    silent = make_users(3, "silent")
    make_user("remind_later")
    job_id = run_job().job_id
    transition_state(user_id=silent[0].user_id, trigger=Trigger.USER_MESSAGE, now=LATER)
    before = all_rows()
    expected = undo(job_id, dry_run=True)
    assert all_rows() == before
    assert (expected.counts.undone, expected.counts.messages_cancelled, not_undone(expected)) == (
        3,
        2,
        {"moved_on": 1},
    )
    assert undo(job_id).counts.as_json() == expected.counts.as_json()


def test_undo_may_be_repeated() -> None:
    make_users(3, "silent")
    job_id = run_job().job_id
    undo(job_id)
    before = all_rows()
    result = undo(job_id, now=LATER + DAY)
    assert (result.status, result.counts.undone, not_undone(result)) == (
        "succeeded",
        0,
        {"already_undone": 3},
    )
    assert all_rows() == before


def test_those_left_alone_count_in_every_batch(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 2
    make_users(5, "silent")
    job_id = run_job().job_id
    undo(job_id)
    assert not_undone(undo(job_id)) == {"already_undone": 5}


def test_user_who_wrote_is_left_alone() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=LATER)
    before = all_rows()
    assert not_undone(undo(job_id)) == {"moved_on": 1}
    assert all_rows() == before


@pytest.mark.parametrize("change", [{"state": "active"}, {"goodbye_sent_at": NOW + TICK}, {"remind_at": NOW}])
def test_user_whom_another_program_has_changed_is_left_alone(change: dict[str, Any]) -> None:
    make_user("silent")
    job_id = run_job().job_id
    UserEngagementState.objects.update(**change)
    assert not_undone(undo(job_id)) == {"moved_on": 1}


def test_user_who_came_back_and_went_again_is_left_alone() -> None:
    """They look exactly as the first run left them; the audit log knows better."""
    user = make_user("remind_later")
    job_id = run_job().job_id
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=LATER)
    run_job(now=LATER + 15 * DAY)
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_3, now=LATER + 16 * DAY)
    assert stored(user).state == "dormant"
    assert not_undone(undo(job_id, now=LATER + 17 * DAY)) == {"moved_on": 1}


def test_deleted_user_is_counted() -> None:
    make_user("silent")
    job_id = run_job().job_id
    UserEngagementState.objects.all().delete()
    assert not_undone(undo(job_id)) == {"deleted": 1}


def test_runs_can_be_taken_back_one_after_the_other_last_first() -> None:
    make_user("silent")
    before = all_users()
    first, second = run_job().job_id, run_job(now=NOW + 3 * DAY).job_id
    now = NOW + 4 * DAY
    assert not_undone(undo(first, now=now)) == {"moved_on": 1}
    assert undo(second, now=now).counts.undone == 1
    assert undo(first, now=now).counts.undone == 1
    assert all_users() == before


def test_second_run_at_the_same_instant_is_told_from_the_first() -> None:
    make_user("silent")
    first = run_job().job_id
    undo(first)
    second = run_job().job_id
    assert not_undone(undo(first)) == {"already_undone": 1}
    assert undo(second).counts.undone == 1


def test_run_that_moved_nobody_is_unknown() -> None:
    job_id = run_job().job_id
    for unknown in (job_id, uuid4()):
        with pytest.raises(UnknownRun, match=f"{unknown}: .* The job_id is in the report") as error:
            undo(unknown)
        assert error.value.job_id == unknown


def test_job_id_of_any_version_is_found() -> None:
    make_user("silent")
    run_job()
    job_id = uuid4()
    EngagementStateTransition.objects.update(metadata={"job_id": str(job_id)})
    assert undo(job_id).counts.undone == 1


def test_user_whom_the_database_refuses_to_move_does_not_keep_the_others_there() -> None:
    silent = make_users(9, "silent")
    job_id = run_job().job_id
    fail_moves_of(silent[4])
    result = undo(job_id)
    assert (result.status, result.counts.undone, result.counts.failed) == ("partial", 8, 1)
    assert [(failure.user_id, failure.error) for failure in result.counts.errors] == [
        (silent[4].user_id, "poisoned (SQLSTATE P0001)")
    ]
    assert EngagementMessage.objects.get(status="pending").user_id == silent[4].user_id


def test_result_carries_the_first_hundred_errors() -> None:
    silent = make_users(101, "silent")
    job_id = run_job().job_id
    fail_moves_of(*silent)
    result = undo(job_id)
    assert (result.counts.failed, len(result.counts.errors)) == (101, 100)


@pytest.mark.parametrize("former", [{}, {"former_timestamps": {"remind_at": "soon"}}])
def test_audit_row_that_does_not_know_the_former_times_fails_alone(former: dict[str, Any]) -> None:
    make_user("remind_later"), make_user("goodbye_sent")
    result = run_job()
    bad = EngagementStateTransition.objects.filter(trigger="reminder_due")
    bad.update(metadata={"job_id": str(result.job_id), **former})
    undone = undo(result.job_id)
    assert (undone.status, undone.counts.undone, undone.counts.failed) == ("partial", 1, 1)
    assert UserEngagementState.objects.filter(state="dormant").count() == 1


def test_batches_are_those_of_the_job_and_cost_the_same_whatever_their_size(settings: Settings) -> None:
    def statements(count: int) -> int:
        make_users(count, "silent")
        job_id = run_job().job_id
        with CaptureQueriesContext(connection) as queries:
            undo(job_id)
        UserEngagementState.objects.update(last_activity_at=F("updated_at"))
        return len(queries)

    one_batch = statements(10)
    assert statements(400) == one_batch
    settings.ENGAGEMENT_BATCH_SIZE = 100
    # Each time, reading the ids costs four, and four more to see that there are no others.
    assert statements(400) == 4 * (one_batch - 8) + 8


def test_run_of_more_transitions_than_ids_are_kept_is_undone_whole(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 10
    monkeypatch.setattr("engagement.services.undo.undo_run._IDS_AT_ONCE", 25)
    make_users(60, "silent")
    assert undo(run_job().job_id).counts.undone == 60
    assert UserEngagementState.objects.filter(state="active").count() == 60


def test_times_that_other_programs_wrote_keep_their_own_offsets() -> None:
    users = make_users(2, "goodbye_sent")
    job_id = run_job().job_id
    began = users[0].goodbye_sent_at
    assert began
    times = (began.astimezone(ZoneInfo("America/Sao_Paulo")), began.replace(tzinfo=None))
    for user, time in zip(users, times, strict=True):
        transition = EngagementStateTransition.objects.get(user_id=user.user_id)
        transition.metadata["former_timestamps"]["goodbye_sent_at"] = time.isoformat()
        transition.save()
    assert undo(job_id).counts.undone == 2
    assert set(UserEngagementState.objects.values_list("goodbye_sent_at", flat=True)) == {began}


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        undo(uuid4(), now=NOW.replace(tzinfo=None))
