"""A run that moves nobody although users are due: the watch must not be content with it."""

from __future__ import annotations

import json

import pytest
from freezegun import freeze_time

from engagement.models import EngagementJobRun
from tests.database import another_connection, execute, fail_moves_of, on_every_move
from tests.factories import NOW, make_users
from tests.running import run_command, run_job


def watch() -> tuple[int, str]:
    with freeze_time(NOW):
        outcome = run_command("check_engagement_runs")
    return outcome.code, outcome.out + outcome.err


def failed_users(caplog: pytest.LogCaptureFixture) -> int:
    return sum("engagement_user_failed" in record.getMessage() for record in caplog.records)


@pytest.mark.django_db
def test_same_error_for_the_first_twenty_users_ends_the_run(caplog: pytest.LogCaptureFixture) -> None:
    make_users(120, "silent")
    on_every_move("RAISE EXCEPTION 'refused';")
    result = run_job()
    assert (result.status, result.exit_code, result.succeeded, result.failed) == ("failed", 1, 0, 20)
    assert result.failure
    assert result.failure.startswith("The first 20 users failed with the same error: refused")
    assert failed_users(caplog) == 20
    code, text = watch()
    assert (code, "failed" in text) == (1, True)


@pytest.mark.django_db
def test_forgotten_partition_ends_the_run_too() -> None:
    make_users(40, "silent")
    no_december = "CONSTRAINT no_december CHECK (created_at < '2000-01-01')"
    execute(f"ALTER TABLE engagement_state_transitions ADD {no_december}")
    result = run_job()
    assert (result.status, result.succeeded) == ("failed", 0)
    assert result.failure
    assert "no_december" in result.failure


@pytest.mark.django_db
def test_nineteen_users_who_cannot_be_moved_are_failures_of_their_own() -> None:
    bad = make_users(19, "silent", last_activity_at=NOW - (NOW - NOW.replace(year=2025)))
    make_users(5, "silent")
    fail_moves_of(*bad)
    result = run_job()
    assert (result.status, result.exit_code, result.failed, result.succeeded) == ("partial", 3, 19, 5)
    assert watch()[0] == 0


@pytest.mark.django_db
def test_run_in_which_the_few_due_users_all_failed_is_not_good() -> None:
    fail_moves_of(*make_users(3, "silent"))
    assert run_job().status == "partial"
    assert watch()[0] == 1


@pytest.mark.django_db(transaction=True)
def test_users_who_are_all_locked_are_still_due_and_the_watch_says_so() -> None:
    make_users(30, "silent")
    with another_connection() as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM user_engagement_states FOR UPDATE")
        with freeze_time(NOW):
            outcome = run_command("run_engagement_daily", "--json")
        other.execute("ROLLBACK")
    assert (outcome.code, outcome.json["processed"], outcome.json["still_due"]) == (0, 0, 30)
    assert EngagementJobRun.objects.get().still_due == 30
    assert watch()[0] == 1
    with freeze_time(NOW):
        seen = json.loads(run_command("check_engagement_runs", "--json").out)
    assert seen["runs_since"][0]["still_due"] == 30
