"""A run is taken back while others are at work. Real connections, processes and signals."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.db import OperationalError, connection

from engagement.models import EngagementMessage, UserEngagementState
from tests.database import (
    AT_THE_GATE,
    another_connection,
    closed_gate,
    fail_first_moves,
    fail_moves_of,
    heal,
    in_thread,
    lose_connection_at_first_move,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import make_users
from tests.integration.operation.undoing import all_users, count_undone, undo
from tests.running import run_command, run_job, start_process

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.services.undo.undo_result import UndoResult

pytestmark = pytest.mark.usefixtures("committed")

ONE_BY_ONE: Final = {"ENGAGEMENT_BATCH_SIZE": "3", "ENGAGEMENT_WORKERS": "1"}
"""One small batch after the other."""
CODES: Final = {"deadlock": "40P01", "lock timeout": "55P03", "disk full": "53100", "shutdown": "57P01"}


def assert_every_goodbye_can_be_sent() -> None:
    told = set(UserEngagementState.objects.filter(state="goodbye_sent").values_list("user_id", flat=True))
    pending = EngagementMessage.objects.filter(status="pending").values_list("user_id", flat=True)
    assert sorted(pending) == sorted(told)


def test_two_at_once_take_everybody_back_once(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 7
    make_users(60, "silent")
    before = all_users()
    job_id = run_job().job_id
    results: list[UndoResult] = []
    wait_at_gate()
    with closed_gate() as gate:
        threads = [in_thread(lambda: results.append(undo(job_id))) for _ in range(2)]
        wait_for_somebody_at_the_gate(gate, count=2)
    for thread in threads:
        thread.join()
    assert [result.status for result in results] == ["succeeded", "succeeded"]
    assert sum(result.counts.undone for result in results) == count_undone() == 60
    assert sum(result.counts.messages_cancelled for result in results) == 60
    assert all_users() == before


@pytest.mark.parametrize("table", ["user_engagement_states", "engagement_message_queue"])
def test_what_another_program_has_locked_is_passed_over_and_found_the_next_time(table: str) -> None:
    users = make_users(3, "silent")
    job_id = run_job().job_id
    with another_connection(autocommit=False) as other:
        other.execute(f"SELECT FROM {table} WHERE user_id = %s FOR UPDATE", [users[1].user_id])
        # It takes no locks of its own, and so meets nobody's.
        assert undo(job_id, dry_run=True).counts.undone == 3
        result = undo(job_id)
        assert (result.status, result.counts.undone, dict(result.counts.not_undone)) == (
            "succeeded",
            2,
            {"in_use": 1},
        )
        other.rollback()
    assert undo(job_id).counts.undone == 1
    assert_every_goodbye_can_be_sent()


def test_program_that_only_refers_to_a_user_is_in_nobodys_way() -> None:
    make_users(3, "silent")
    job_id = run_job().job_id
    with another_connection(autocommit=False) as referring:
        referring.execute("SELECT FROM user_engagement_states FOR KEY SHARE")
        assert undo(job_id).counts.undone == 3


def test_goodbye_that_is_being_sent_is_not_cancelled() -> None:
    users = make_users(1, "silent")
    job_id = run_job().job_id
    with another_connection(autocommit=False) as sender:
        sender.execute("SELECT FROM engagement_message_queue WHERE status = 'pending' FOR UPDATE")
        assert undo(job_id).counts.undone == 0
        sender.execute("UPDATE engagement_message_queue SET status = 'sent', sent_at = now()")
        sender.commit()
    assert dict(undo(job_id).counts.not_undone) == {"goodbye_sent": 1}
    assert UserEngagementState.objects.get(pk=users[0].pk).state == "goodbye_sent"


def test_beside_a_job_nobody_is_told_goodbye_without_a_message(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 5
    make_users(60, "silent")
    job_id = run_job().job_id
    outcomes: list[Any] = []
    wait_at_gate()
    with closed_gate() as gate:
        undoing = in_thread(lambda: outcomes.append(undo(job_id).counts.undone))
        wait_for_somebody_at_the_gate(gate)
        runs = [in_thread(lambda: outcomes.append(run_job(batch_size=3).failed)) for _ in range(2)]
    for thread in (undoing, *runs):
        thread.join()
    assert sorted(outcomes) == [0, 0, 60]
    assert_every_goodbye_can_be_sent()


@pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())
def test_batch_is_tried_again_after(code: str, settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 2
    make_users(4, "silent")
    job_id = run_job().job_id
    fail_first_moves(1, code=code)
    result = undo(job_id)
    assert (result.status, result.counts.undone, result.counts.failed) == ("succeeded", 4, 0)
    assert count_undone() == 4


def test_undo_reconnects_when_the_server_ends_its_session() -> None:
    make_users(4, "silent")
    job_id = run_job().job_id
    lose_connection_at_first_move()
    result = undo(job_id)
    assert (result.status, result.counts.undone, count_undone()) == ("succeeded", 4, 4)


def lose_the_answer_to_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed, and the connection breaks. The transaction before it has read the page."""
    commit = connection._commit  # type: ignore[attr-defined]  # Django's own, not in the stubs
    commits: list[bool] = []

    def commit_and_lose_the_answer() -> None:
        commit()
        commits.append(True)
        if len(commits) == 2:
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", commit_and_lose_the_answer)


def test_batch_whose_commit_was_not_confirmed_is_counted_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 2
    make_users(4, "silent")
    job_id = run_job().job_id
    lose_the_answer_to_the_first_batch(monkeypatch)
    result = undo(job_id)
    assert (result.status, result.counts.undone, result.counts.messages_cancelled) == ("succeeded", 4, 4)
    assert (dict(result.counts.not_undone), count_undone()) == ({}, 4)


def test_unconfirmed_batch_that_left_everybody_alone_counts_them_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_users(4, "silent")
    job_id = run_job().job_id
    undo(job_id)
    lose_the_answer_to_the_first_batch(monkeypatch)
    result = undo(job_id)
    assert (result.status, dict(result.counts.not_undone)) == ("succeeded", {"already_undone": 4})


def test_outage_that_lasts_ends_the_undo_as_failed(settings: Settings) -> None:
    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 1
    make_users(4, "silent")
    job_id = run_job().job_id
    fail_first_moves(1000, code="53100")
    result = undo(job_id)
    assert (result.status, result.counts.undone, result.counts.failed) == ("failed", 0, 0)
    assert "The database is not available" in str(result.failure)
    assert_every_goodbye_can_be_sent()


def test_locked_table_ends_the_undo_and_blames_nobody(settings: Settings) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    settings.ENGAGEMENT_BATCH_ATTEMPTS = 2
    make_users(4, "silent")
    job_id = run_job().job_id
    with another_connection(autocommit=False) as other:
        other.execute("LOCK TABLE engagement_message_queue IN SHARE MODE")
        result = undo(job_id)
        other.rollback()
    assert (result.status, result.counts.undone, result.counts.failed) == ("failed", 0, 0)
    assert "Other programs kept the database busy" in str(result.failure)
    assert undo(job_id).counts.undone == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_lets_the_batch_in_hand_finish(number: signal.Signals, code: int) -> None:
    make_users(9, "silent")
    before = all_users()
    job_id = str(run_job().job_id)
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process("undo_engagement_run", job_id, "--json", **ONE_BY_ONE)
        wait_for_somebody_at_the_gate(gate)
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["status"], result["undone"]) == (code, "interrupted", 3)
    assert "Traceback" not in err
    assert_every_goodbye_can_be_sent()
    again = run_command("undo_engagement_run", job_id, "--json")
    assert (again.code, again.json["undone"], again.json["left_alone"]) == (0, 6, 3)
    assert all_users() == before


def test_killed_undo_is_finished_by_the_next_one() -> None:
    make_users(9, "silent")
    before = all_users()
    job_id = str(run_job().job_id)
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process("undo_engagement_run", job_id, **ONE_BY_ONE)
        wait_for_somebody_at_the_gate(gate)
        process.kill()
        process.communicate(timeout=60)
        gate.execute(f"SELECT pg_terminate_backend(pid) FROM {AT_THE_GATE}")
    assert count_undone() == 0
    assert_every_goodbye_can_be_sent()
    assert run_command("undo_engagement_run", job_id, "--json").json["undone"] == 9
    assert all_users() == before


def test_workers_undo_each_transition_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENGAGEMENT_BATCH_SIZE, settings.ENGAGEMENT_WORKERS = 5, 3
    monkeypatch.setattr("engagement.services.undo.undo_run._IDS_AT_ONCE", 12)
    users = make_users(40, "silent")
    make_users(8, "goodbye_sent")
    before = all_users()
    job_id = run_job().job_id
    bad = users[17]
    wait_at_gate()
    results: list[UndoResult] = []
    with closed_gate() as gate:
        thread = in_thread(lambda: results.append(undo(job_id)))
        wait_for_somebody_at_the_gate(gate, count=3)
    thread.join()
    heal()
    (result,) = results
    assert (result.status, result.counts.undone, result.counts.messages_cancelled) == ("succeeded", 48, 40)
    assert all_users() == before
    assert count_undone() == 48
    # Once more, with a user who cannot be put back.
    second = run_job().job_id
    fail_moves_of(bad)
    result = undo(second)
    assert (result.status, result.counts.undone, result.counts.failed) == ("partial", 47, 1)
    assert [failure.user_id for failure in result.counts.errors] == [bad.user_id]
