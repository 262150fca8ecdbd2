"""Several processes share one run and one result. Real processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.selectors import audit_log
from engagement.services.job import check_run, parallel
from engagement.services.job.result import UserFailure
from engagement.states import State
from tests.database import (
    closed_gate,
    execute,
    fail_moves_of,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_users
from tests.integration.job.outcomes import assert_all_moved_once
from tests.running import run_job, run_process, start_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess

    from engagement.services.job.check_run import CheckRun

pytestmark = pytest.mark.usefixtures("committed")

RUN = ("run_engagement_daily", "--json", "--now", NOW.isoformat(), "--batch-size", "5", "--workers", "3")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_workers_move_each_user_once_and_give_one_result() -> None:
    make_users(50, "silent")
    make_users(8, "goodbye_sent")
    outcome = run_process(*RUN)
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded")
    succeeded = [check["succeeded"] for check in outcome.json["checks"].values()]
    assert (succeeded, outcome.json["succeeded"]) == ([50, 8, 0], 58)
    assert UserEngagementState.objects.filter(state=State.DORMANT).count() == 8
    assert EngagementStateTransition.objects.count() == 58
    assert EngagementMessage.objects.count() == 50


def test_each_worker_takes_its_part() -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        assert len(workers_of(process)) == 3
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["succeeded"] == 50
    assert_all_moved_once(50)


@pytest.mark.parametrize("limit", [1, 2, 7, 30, 50, 99])
def test_limit_holds_for_all_workers_together_and_takes_the_longest_silent(limit: int) -> None:
    make_users(50, "silent")
    result = run_job(workers=3, limit=limit, batch_size=4)
    assert (result.status, result.succeeded) == ("succeeded", min(limit, 50))
    told = set(EngagementMessage.objects.values_list("user_id", flat=True))
    order = UserEngagementState.objects.order_by("last_activity_at", "user_id")
    assert told == set(order.values_list("user_id", flat=True)[:limit])


def test_failed_users_of_all_workers_are_reported_once() -> None:
    users = make_users(40, "silent")
    bad = [users[number] for number in (0, 13, 26, 39)]
    fail_moves_of(*bad)
    outcome = run_process(*RUN)
    assert (outcome.code, outcome.json["succeeded"], outcome.json["failed"]) == (3, 36, 4)
    named = [error["user_id"] for error in outcome.json["errors"]]
    assert sorted(named) == sorted(str(user.user_id) for user in bad)
    assert_all_moved_once(36)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_the_parent_stops_all_workers_after_their_batches(number: int, code: int) -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        process.send_signal(number)
        assert process.stderr
        assert any("engagement_stop_requested" in line for line in process.stderr)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["status"], result["succeeded"]) == (code, "interrupted", 15)
    assert "Traceback" not in err
    assert "engagement_stop_requested" not in err, "said more than once"
    assert_all_moved_once(15)
    assert run_process(*RUN).json["succeeded"] == 35
    assert_all_moved_once(50)


def test_killed_worker_loses_nothing() -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        os.kill(workers_of(process)[1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["status"]) == (1, "failed")
    assert "A worker process ended with code -9 before its work was done" in err
    assert_all_moved_once(result["succeeded"])
    run_process(*RUN)
    assert_all_moved_once(50)


def test_workers_stop_when_their_parent_is_killed() -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        workers = workers_of(process)
        process.kill()
        process.wait()
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    wait_until(
        lambda: (
            not any(
                Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers if Path(f"/proc/{pid}").exists()
            )
        ),
        "a worker outlives its parent",
    )
    assert_all_moved_once(15)


# In this process, whose children the workers are.


def test_result_of_several_workers_is_that_of_one() -> None:
    users = make_users(30, "silent")
    fail_moves_of(users[0], users[17])
    result = run_job(workers=2, batch_size=4)
    assert (result.status, result.succeeded, result.failure) == ("partial", 28, None)
    assert {failure.user_id for failure in result.errors} == {users[0].user_id, users[17].user_id}
    assert len(result.errors) == 2


def test_user_whom_another_worker_has_moved_meanwhile_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker reports a failure; the audit log decides."""
    users = make_users(8, "silent")
    blame = UserFailure(users[0].user_id, "inactivity_14d", "in somebody's way")
    move_users = check_run.move_users

    def blame_and_move(check_runs: list[CheckRun], **options: Any) -> bool:
        check_runs[0].progress.failed(blame)
        return move_users(check_runs, **options)

    monkeypatch.setattr(parallel, "move_users", blame_and_move)
    result = run_job(workers=2)
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 8, 0)


def test_run_that_cannot_be_settled_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    users = make_users(8, "silent")
    fail_moves_of(users[0])
    monkeypatch.setattr(audit_log, "moved_by_run", lambda *_asked, **_named: execute("SELECT 1 / 0"))
    result = run_job(workers=2, batch_size=4)
    assert (result.status, result.succeeded) == ("failed", 7)
    assert "division by zero" in str(result.failure)


def test_what_dead_workers_had_committed_is_counted_by_the_audit_log(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(8, "silent")
    make_users(2, "goodbye_sent")
    move_users = check_run.move_users

    def move_and_die(check_runs: list[CheckRun], **options: Any) -> bool:
        for each in check_runs:
            each.progress = parallel.WorkerProgress(lambda _message: None)
        move_users(check_runs, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    monkeypatch.setattr(parallel, "move_users", move_and_die)
    result = run_job(workers=2)
    assert (result.status, [tally.succeeded for tally in result.checks.values()]) == ("failed", [8, 2, 0])
    assert result.failure == (
        "A worker process ended with code -9 before its work was done;"
        " what it had committed stays. Run the command again for the rest."
    )
