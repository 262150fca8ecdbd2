"""What a run does when others are in its way and when the database goes away. Real connections."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import OperationalError, connection

from engagement.models import UserEngagementState
from engagement.states import State
from tests.database import (
    another_connection,
    closed_gate,
    execute,
    fail_first_moves,
    in_thread,
    lose_connection_at_first_move,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_user, make_users
from tests.integration.job.outcomes import assert_all_moved_once
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.services.job.result import RunResult

pytestmark = pytest.mark.usefixtures("committed")

CONFLICTS = {"deadlock": "40P01", "serialization failure": "40001", "lock timeout": "55P03"}
OUTAGES = {"disk full": "53100", "shutdown": "57P01", "connection failure": "08006", "standby": "25006"}
FAULTS = CONFLICTS | OUTAGES


@pytest.mark.parametrize("code", FAULTS.values(), ids=FAULTS.keys())
def test_batch_is_tried_again_after(code: str) -> None:
    make_users(4, "silent")
    fail_first_moves(2, code=code)
    result = run_job(batch_size=2)
    assert (result.succeeded, result.failed, result.status) == (4, 0, "succeeded")
    assert_all_moved_once(4)


def test_batch_that_meets_a_lock_timeout_every_time_is_searched_for_the_user_at_fault(
    settings: Settings,
) -> None:
    settings.ENGAGEMENT_BATCH_ATTEMPTS = 2
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    users = make_users(3, "silent")
    key = f"{users[1].user_id}:goodbye_sent:2026-03-02"
    with another_connection(autocommit=False) as other:
        other.execute(
            "INSERT INTO engagement_message_queue"
            " (user_id, message_type, message_key, destination, destination_jid, idempotency_key)"
            " VALUES (%s, 'goodbye', 'k', 'individual', 'j', %s)",
            [users[1].user_id, key],
        )
        result = run_job()
        other.rollback()
    assert (result.succeeded, [failure.user_id for failure in result.errors]) == (2, [users[1].user_id])
    assert run_job().succeeded == 1
    assert_all_moved_once(3)


def test_run_reconnects_when_the_server_ends_its_session() -> None:
    make_users(4, "silent")
    lose_connection_at_first_move()
    result = run_job(batch_size=2)
    assert (result.succeeded, result.failed, result.status) == (4, 0, "succeeded")
    assert_all_moved_once(4)


def test_batch_whose_commit_was_not_confirmed_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(4, "silent")
    commit = connection._commit  # type: ignore[attr-defined]  # Django's own, not in the stubs
    lost: list[bool] = []

    def commit_and_lose_the_answer() -> None:
        commit()
        if not lost and is_anybody_told():
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")

    with another_connection() as other:

        def is_anybody_told() -> bool:
            return other.execute("SELECT FROM engagement_message_queue").fetchone() is not None

        monkeypatch.setattr(connection, "_commit", commit_and_lose_the_answer)
        result = run_job(batch_size=2)
    assert lost
    assert (result.succeeded, result.failed, result.status) == (4, 0, "succeeded")
    assert_all_moved_once(4)


def test_outage_that_lasts_ends_the_run_as_failed(settings: Settings) -> None:
    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 1
    make_users(4, "silent")
    fail_first_moves(1000, code="53100")
    result = run_job(batch_size=2)
    assert (result.status, result.succeeded, result.failed) == ("failed", 0, 0)
    assert result.failure == (
        "The database is not available: provoked (SQLSTATE 53100). Run the command again when it is."
    )


def test_missing_privilege_ends_the_run_and_blames_nobody() -> None:
    make_users(4, "silent")
    execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader")
    try:
        execute("GRANT SELECT, UPDATE ON user_engagement_states, user_profiles TO reader; SET ROLE reader")
        result = run_job()
    finally:
        execute("RESET ROLE; DROP OWNED BY reader; DROP ROLE reader")
    assert (result.status, result.processed) == ("failed", 0)
    assert result.failure
    assert "permission denied for table engagement_message_queue" in result.failure
    assert not UserEngagementState.objects.exclude(state=State.ACTIVE).exists()


@pytest.mark.parametrize("table", ["user_engagement_states", "user_profiles"])
def test_user_locked_by_another_program_is_passed_over(table: str) -> None:
    users = make_users(3, "silent")
    with another_connection(autocommit=False) as other:
        other.execute(f"SELECT FROM {table} WHERE user_id = %s FOR UPDATE", [users[1].user_id])
        result = run_job()
        assert (result.succeeded, result.failed, result.status) == (2, 0, "succeeded")
        other.rollback()
    assert run_job().succeeded == 1
    assert_all_moved_once(3)


def test_user_who_wrote_while_the_page_was_read_is_not_told_goodbye() -> None:
    user = make_user("silent")
    with another_connection(autocommit=False) as other:
        other.execute(
            "UPDATE user_engagement_states SET last_activity_at = %s WHERE user_id = %s",
            [NOW, user.user_id],
        )
        assert run_job().processed == 0
        other.commit()
    assert run_job().processed == 0
    assert_all_moved_once(0)


def test_opt_out_waits_for_the_batch_that_says_goodbye_to_the_user() -> None:
    user = make_user("silent")
    wait_at_gate()
    results: list[RunResult] = []
    with closed_gate() as gate:
        thread = in_thread(lambda: results.append(run_job()))
        wait_for_somebody_at_the_gate(gate)
        with another_connection(options="-c lock_timeout=50ms") as other:
            opt_out = "UPDATE user_profiles SET reengagement_opt_out = true WHERE user_id = %s"
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(opt_out, [user.user_id])
    thread.join()
    assert [result.succeeded for result in results] == [1]


def test_two_runs_at_once_move_everybody_once() -> None:
    make_users(60, "silent")
    results: list[RunResult] = []
    wait_at_gate()
    with closed_gate() as gate:
        threads = [in_thread(lambda: results.append(run_job(batch_size=7, workers=2))) for _ in range(2)]
        wait_for_somebody_at_the_gate(gate, count=4)
    for thread in threads:
        thread.join()
    assert sum(result.succeeded for result in results) == 60
    assert all(result.succeeded for result in results)
    assert_all_moved_once(60)


def test_next_run_an_hour_later_counts_from_its_own_now() -> None:
    make_user("silent")
    run_job()
    assert run_job(now=NOW + timedelta(hours=48)).succeeded == 0
    assert run_job(now=NOW + timedelta(hours=48, microseconds=1)).succeeded == 1
