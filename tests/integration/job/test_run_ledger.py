"""What the ledger says of a run, while it works and afterwards."""

from __future__ import annotations

import os
import signal
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from freezegun import freeze_time

import engagement
from engagement.models import EngagementJobRun, RunStatus
from engagement.selectors.job_runs import VANISHED, VANISHED_AFTER, status_of_run
from engagement.services.job import ledger
from engagement.services.resilience.stop import StopRequest
from engagement.states import CHECKS
from tests.database import execute, fail_moves_of, on_every_move
from tests.factories import NOW, TICK, make_run, make_user, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from engagement.services.job.result import RunResult

pytestmark = pytest.mark.django_db

INACTIVITY, TIMEOUT, REMINDER = CHECKS


def row_of(result: RunResult) -> EngagementJobRun:
    return EngagementJobRun.objects.get(pk=result.job_id)


def test_row_says_what_the_result_says() -> None:
    users = make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    fail_moves_of(users[1])
    result = run_job()
    row, said = row_of(result), result.as_json()
    for column in (
        "status",
        "processed",
        "succeeded",
        "failed",
        "skipped",
        "skipped_by_reason",
        "checks",
        "errors",
    ):
        assert getattr(row, column) == said[column], column
    assert (row.status, row.failure, row.now) == ("partial", None, NOW)


def test_row_says_what_was_asked_where_and_by_which_version() -> None:
    row = row_of(run_job(checks=[TIMEOUT, INACTIVITY], limit=7, batch_size=3, allow_large_run=True))
    row.options.pop("ahead_of_clock_seconds")
    assert row.options == {
        "checks": ["inactivity_14d", "goodbye_timeout"],
        "limit": 7,
        "batch_size": 3,
        "workers": None,
        "allow_large_run": True,
    }
    assert (row.host, row.pid, row.version) == (socket.gethostname(), os.getpid(), engagement.__version__)


@pytest.mark.parametrize(("hours", "ahead"), [(-1, None), (1, None), (-72, -259_200), (2, 7_200)])
def test_row_says_how_far_now_is_from_the_clock_if_that_is_more_than_an_hour(
    hours: int, ahead: int | None
) -> None:
    with freeze_time(NOW):
        row = row_of(run_job(now=NOW + timedelta(hours=hours)))
    assert row.options.get("ahead_of_clock_seconds") == ahead


def test_times_of_a_run_are_the_clocks_whatever_its_now() -> None:
    before = timezone.now()
    row = row_of(run_job(now=NOW - timedelta(days=3650)))
    assert row.finished_at
    # The database's clock, on the same machine.
    slack = timedelta(seconds=1)
    assert before - slack <= row.started_at <= row.finished_at == row.last_seen_at <= timezone.now() + slack


def test_dry_run_leaves_no_row() -> None:
    make_user("silent")
    run_job(dry_run=True)
    assert not EngagementJobRun.objects.exists()


def test_run_that_was_asked_to_stop_is_interrupted() -> None:
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    assert row_of(run_job(stop=stop)).status == RunStatus.INTERRUPTED


def test_run_that_could_not_go_on_says_why() -> None:
    make_user("silent")
    execute("ALTER TABLE engagement_state_transitions RENAME TO elsewhere")
    result = run_job()
    row = row_of(result)
    assert (row.status, row.failure) == ("failed", result.failure)
    assert "does not exist" in str(row.failure)


def remember_the_ledger_at_every_move() -> None:
    execute("CREATE TABLE remembered (status text, succeeded integer, checks jsonb)")
    on_every_move("INSERT INTO remembered SELECT status, succeeded, checks FROM engagement_job_runs;")


def remembered(column: str) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM remembered")
        return [value for (value,) in cursor.fetchall()]


def test_row_is_there_before_anybody_moves() -> None:
    remember_the_ledger_at_every_move()
    make_user("silent")
    run_job()
    assert remembered("status") == ["running"]


def test_row_is_brought_up_to_date_when_a_check_ends() -> None:
    remember_the_ledger_at_every_move()
    make_users(2, "silent")
    make_user("goodbye_sent")
    make_user("remind_later")
    with freeze_time(NOW):
        run_job()
    assert remembered("succeeded") == [0, 0, 2, 3]
    assert remembered("checks -> 'inactivity_14d' ->> 'succeeded'") == ["0", "0", "2", "2"]


def test_row_is_brought_up_to_date_while_a_check_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "REFRESH_SECONDS", 0)
    remember_the_ledger_at_every_move()
    make_users(4, "silent")
    run_job(batch_size=1)
    assert remembered("succeeded") == [0, 1, 2, 3]


def statements_about_the_ledger(batch_size: int) -> int:
    # While the clock stands still, no refresh is due.
    with CaptureQueriesContext(connection) as queries, freeze_time(NOW):
        run_job(batch_size=batch_size)
    return sum("engagement_job_runs" in query["sql"] for query in queries)


def test_ledger_costs_a_statement_for_each_check_however_many_batches_there_are() -> None:
    """And one at the start, and one at the end; none for a check that found nobody."""
    assert statements_about_the_ledger(1) == 2
    make_users(20, "silent")
    assert statements_about_the_ledger(1) == 3
    make_users(20, "silent")
    assert statements_about_the_ledger(20) == 3


@pytest.mark.parametrize(
    ("status", "silence", "outcome"),
    [
        ("running", VANISHED_AFTER, "running"),
        ("running", VANISHED_AFTER + TICK, VANISHED),
        ("succeeded", timedelta(days=1), "succeeded"),
        ("failed", timedelta(days=1), "failed"),
    ],
)
def test_run_that_is_running_and_not_seen_has_vanished(status: str, silence: timedelta, outcome: str) -> None:
    run = make_run(status=status, last_seen_at=NOW)
    assert status_of_run(run, now=NOW + silence) == outcome


def test_refresh_comes_many_times_before_a_run_counts_as_vanished() -> None:
    assert VANISHED_AFTER.total_seconds() / 5 > ledger.REFRESH_SECONDS + ledger.PAUSE_SECONDS
