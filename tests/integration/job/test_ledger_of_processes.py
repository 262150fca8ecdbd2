"""What the ledger says of runs that are killed, stopped, shared, or not alone. Real processes."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from engagement.models import EngagementJobRun
from engagement.selectors.job_runs import VANISHED, VANISHED_AFTER, status_of_run
from engagement.services.job import ledger
from tests.database import (
    AT_THE_GATE,
    GATE,
    closed_gate,
    fail_moves_of,
    on_every_move,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_users
from tests.running import run_command, run_job, start_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.usefixtures("committed")

RUN = ("run_engagement_daily", "--json", "--now", NOW.isoformat(), "--batch-size", "3")


def end(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_killed_run_vanishes_and_is_in_nobodys_way() -> None:
    make_users(30, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN, "--workers", "3")
        wait_for_somebody_at_the_gate(gate, count=3)
        process.kill()
        process.wait()
        gate.execute(f"SELECT pg_terminate_backend(pid) FROM {AT_THE_GATE}")
    end(process)
    row = EngagementJobRun.objects.get()
    later = timezone.now() + VANISHED_AFTER + timedelta(seconds=1)
    assert (row.status, row.finished_at, status_of_run(row, now=later)) == ("running", None, VANISHED)
    next_run = run_command(*RUN)
    assert (next_run.code, next_run.json["succeeded"]) == (0, 30)
    assert EngagementJobRun.objects.filter(status="succeeded", succeeded=30).count() == 1
    row.refresh_from_db()
    assert row.status == "running"


@pytest.mark.parametrize("workers", [1, 3])
def test_stopped_run_is_interrupted_and_counts_what_it_did(workers: int) -> None:
    make_users(30, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(*RUN, "--workers", str(workers))
        wait_for_somebody_at_the_gate(gate, count=workers)
        process.send_signal(signal.SIGTERM)
        if workers > 1:
            assert process.stderr
            assert any("engagement_stop_requested" in line for line in process.stderr)
    end(process)
    row = EngagementJobRun.objects.get()
    assert (row.status, row.succeeded, row.failure) == ("interrupted", 3 * workers, None)


def test_run_with_workers_has_one_row_with_all_that_they_did() -> None:
    users = make_users(40, "silent")
    make_users(5, "goodbye_sent")
    fail_moves_of(users[7])
    outcome = run_command(*RUN, "--workers", "3")
    row = EngagementJobRun.objects.get()
    assert str(row.job_id) == outcome.json["job_id"]
    assert (row.status, row.succeeded, row.failed, row.checks) == ("partial", 44, 1, outcome.json["checks"])
    assert [error["user_id"] for error in row.errors] == [str(users[7].user_id)]
    assert row.options["workers"] == 3


def test_row_is_brought_up_to_date_when_a_check_ends_whoever_works_on_it() -> None:
    make_users(12, "silent")
    make_users(12, "goodbye_sent")
    in_second_check = "OLD.state = 'goodbye_sent'"
    on_every_move(f"IF {in_second_check} THEN PERFORM pg_advisory_xact_lock_shared({GATE}); END IF;")
    with closed_gate() as gate:
        process = start_process(*RUN, "--workers", "3")
        wait_for_somebody_at_the_gate(gate, count=3)
        wait_until(lambda: EngagementJobRun.objects.get().succeeded == 12, "the ledger does not hear of it")
        assert EngagementJobRun.objects.get().status == "running"
    assert end(process) == 0
    assert EngagementJobRun.objects.get().succeeded == 24


def test_workers_cost_the_ledger_few_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(12, "silent")
    monkeypatch.setattr(ledger, "REFRESH_SECONDS", 3600)
    with CaptureQueriesContext(connection) as queries:
        assert run_job(workers=3, batch_size=2).succeeded == 12
    # At the start, when the first of them has ended a check, perhaps when others have, and at the end.
    assert 3 <= sum("engagement_job_runs" in query["sql"] for query in queries) <= 2 + 3


def test_two_runs_at_once_have_a_row_each() -> None:
    make_users(30, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        processes = [start_process(*RUN, "--workers", "1") for _ in range(2)]
        wait_for_somebody_at_the_gate(gate, count=2)
        assert {row.status for row in EngagementJobRun.objects.all()} == {"running"}
    assert [end(process) for process in processes] == [0, 0]
    rows = EngagementJobRun.objects.all()
    assert [row.status for row in rows] == ["succeeded", "succeeded"]
    assert sum(row.succeeded for row in rows) == 30
