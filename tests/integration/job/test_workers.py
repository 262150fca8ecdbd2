"""Several threads share one run and one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
)
from engagement.selectors import audit_log
from engagement.services.job import check_run, daily_job, parallel
from engagement.services.job.result import UserFailure
from engagement.services.resilience import workers
from engagement.states import State
from tests.database import (
    closed_gate,
    execute,
    fail_moves_of,
    other_sessions,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_users
from tests.integration.job.outcomes import assert_all_moved_once
from tests.running import PROJECT, database_url, run_command, run_job, start_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.fixtures import Settings

    from engagement.services.job.check_run import CheckRun

pytestmark = pytest.mark.usefixtures("committed")

RUN = ("run_engagement_daily", "--json", "--now", NOW.isoformat(), "--batch-size", "5", "--workers", "3")


def test_workers_move_each_user_once_and_give_one_result() -> None:
    make_users(50, "silent")
    make_users(8, "goodbye_sent")
    outcome = run_command(*RUN)
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


def test_signal_stops_all_workers_after_their_batches() -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        assert any("engagement_stop_requested" in line for line in process.stderr)
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    assert (process.returncode, result["status"], result["succeeded"]) == (143, "interrupted", 15)
    assert "Traceback" not in err
    assert "engagement_stop_requested" not in err, "said more than once"
    assert_all_moved_once(15)
    assert run_command(*RUN).json["succeeded"] == 35
    assert_all_moved_once(50)


@pytest.fixture
def _interrupts() -> Iterator[None]:
    """Processes that are started in the background, as by a shell's &, ignore Ctrl-C otherwise."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("_interrupts")
def test_second_interrupt_ends_the_process_at_once() -> None:
    make_users(50, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN)
        wait_for_somebody_at_the_gate(gate, count=3)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert any("engagement_stop_requested" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode
    assert_all_moved_once(0)


# In this process.


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


def test_worker_that_crashes_fails_the_run_and_keeps_what_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(8, "silent")
    move_users = check_run.move_users

    def move_and_crash(check_runs: list[CheckRun], **options: Any) -> bool:
        move_users(check_runs, **options)
        raise ZeroDivisionError

    monkeypatch.setattr(parallel, "move_users", move_and_crash)
    result = run_job(workers=2)
    assert (result.status, result.succeeded) == ("failed", 8)
    assert "ZeroDivisionError" in str(result.failure)


@contextmanager
def threads_that_start(monkeypatch: pytest.MonkeyPatch, count: int) -> Iterator[None]:
    """As on a system that has no more threads than these for workers."""
    start = workers._Worker.start
    started: list[workers._Worker] = []

    def start_if_any_is_left(worker: workers._Worker) -> None:
        if len(started) == count:
            raise RuntimeError("can't start new thread")
        started.append(worker)
        start(worker)

    with monkeypatch.context() as patch:
        patch.setattr(workers._Worker, "start", start_if_any_is_left)
        yield


@pytest.mark.parametrize(("limit", "moved"), [(None, 30), (20, 20)])
def test_fewer_threads_than_asked_for_do_the_same_work(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, moved: int
) -> None:
    make_users(30, "silent")
    with threads_that_start(monkeypatch, 2):
        result = run_job(workers=8, batch_size=4, limit=limit)
    assert (result.status, result.succeeded) == ("succeeded", moved)
    assert_all_moved_once(moved)


def test_work_that_is_left_over_meets_those_who_fail_and_blames_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = make_users(50, "silent")
    fail_moves_of(*users[::2])
    with threads_that_start(monkeypatch, 1):
        result = run_job(workers=3, batch_size=5)
    assert (result.status, result.succeeded, result.failed) == ("partial", 25, 25)


def test_run_without_any_thread_moves_everybody_in_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(8, "silent")
    with threads_that_start(monkeypatch, 0):
        result = run_job(workers=8)
    assert (result.status, result.succeeded) == ("succeeded", 8)


def test_run_begins_nothing_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def away() -> None:
        raise OperationalError("connection refused")

    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 0
    monkeypatch.setattr(workers, "_ask_anything", away)
    make_users(8, "silent")
    result = run_job(workers=3)
    assert (result.status, result.succeeded) == ("failed", 0)
    assert "The database is not available: connection refused" in str(result.failure)


def workers_taken(monkeypatch: pytest.MonkeyPatch, **request: Any) -> int:
    """How many workers a run takes that is not told how many."""
    taken = [1]

    def note(*arguments: Any, workers: int, **options: Any) -> Any:
        taken.append(workers)
        return move_with_workers(*arguments, workers=workers, **options)

    move_with_workers = parallel.move_with_workers
    with monkeypatch.context() as patch:
        patch.setattr(daily_job, "move_with_workers", note)
        run_job(**request)
    return taken[-1]


@pytest.mark.parametrize(
    ("due", "request_", "expected"),
    [
        (0, {}, 1),
        (10, {}, 1),
        (11, {}, 3),
        (11, {"limit": 10}, 1),
        (30, {"limit": 11}, 3),
        (30, {"workers": 1}, 1),
        (3, {"workers": 2}, 2),
    ],
)
def test_large_runs_take_the_workers_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, due: int, request_: dict[str, int], expected: int
) -> None:
    settings.ENGAGEMENT_WORKERS = 3
    make_users(due, "silent")
    make_users(4)
    assert workers_taken(monkeypatch, batch_size=5, **request_) == expected
    assert_all_moved_once(min(due, request_.get("limit", due)))


def test_connections_of_workers_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(12, "silent")
    before = other_sessions()
    assert workers_taken(monkeypatch, workers=4, batch_size=3) == 4
    wait_until(lambda: other_sessions() <= before, "a worker has left its connection open")


@pytest.mark.parametrize("descriptors", [8, 10, 12])
def test_run_that_may_open_few_files_goes_on_with_fewer_workers(descriptors: int) -> None:
    users = make_users(300, "silent")
    process = subprocess.run(
        [
            *("bash", "-c", f'ulimit -n {descriptors}; exec "$@"', "bash"),
            *(sys.executable, "manage.py", *RUN[:-3], "100", "--workers", "8"),
        ],
        check=False,
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": database_url(), "LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["succeeded"] == len(users)
    assert EngagementJobRun.objects.get().status == "succeeded"
