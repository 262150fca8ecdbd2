"""How a failed batch is bisected, and how often its parts are tried."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import pytest
from django.db import connection
from uuid_utils.compat import uuid7

from engagement.models import UserEngagementState
from engagement.selectors import due_users
from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.resilience.stop import StopRequest
from engagement.states import State
from tests.database import execute, on_every_move
from tests.factories import NOW, make_users
from tests.faults import deadlock
from tests.integration.job.watching import Watcher
from tests.logged import logged_events
from tests.running import run_job

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from pytest_django.fixtures import Settings

    from engagement.selectors.due_users import DueUser
    from engagement.services.job.result import RunResult
    from engagement.states import Check

pytestmark = pytest.mark.django_db

POISON: Final = "P0001"
DEADLOCK: Final = "40P01"
NO_PRIVILEGE: Final = "42501"
SUCCESS: Final = None


@pytest.fixture(autouse=True)
def _two_attempts(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_ATTEMPTS = 2


def fail_moves_in_turn(*codes: str | None) -> None:
    """Make the first attempt to move a user fail with the first code, the second with the second, and so on.

    A sequence counts, because a rollback does not take its steps back.
    """
    execute("CREATE SEQUENCE faults")
    cases = (
        f"WHEN {number} THEN RAISE EXCEPTION 'provoked' USING ERRCODE = '{code}';"
        for number, code in enumerate(codes, start=1)
        if code is not SUCCESS
    )
    on_every_move(f"CASE nextval('faults') {' '.join(cases)} ELSE NULL; END CASE;")


def batches_of_four_users() -> tuple[RunResult, list[int]]:
    make_users(4, "silent")
    watcher = Watcher()
    return run_daily_job(request=RunRequest(job_id=uuid7(), now=NOW), listeners=[watcher]), watcher.batches


def test_halves_of_a_batch_that_met_conflicts_are_tried_once() -> None:
    fail_moves_in_turn(DEADLOCK, DEADLOCK, DEADLOCK)
    result, batches = batches_of_four_users()
    # The second half at once; the first not again, but one by one.
    assert (result.status, batches) == ("succeeded", [2, 1, 1])


def test_halves_of_a_batch_with_a_bad_user_are_tried_as_often_as_any_batch() -> None:
    fail_moves_in_turn(POISON, DEADLOCK)
    result, batches = batches_of_four_users()
    assert (result.status, batches) == ("succeeded", [2, 2])


def test_conflict_in_both_halves_ends_the_run() -> None:
    fail_moves_in_turn(*[DEADLOCK] * 4)
    result, batches = batches_of_four_users()
    assert (result.status, result.failed, batches) == ("failed", 0, [])
    assert "Other programs kept the database busy" in str(result.failure)


def test_bisection_goes_on_when_one_half_meets_a_conflict_and_one_a_bad_user() -> None:
    fail_moves_in_turn(POISON, POISON, DEADLOCK, DEADLOCK)
    result, batches = batches_of_four_users()
    assert (result.status, batches) == ("succeeded", [1, 1, 1, 1])


def test_user_alone_who_meets_a_conflict_each_time_has_failed() -> None:
    second_half = [SUCCESS] * 2
    fail_moves_in_turn(POISON, DEADLOCK, DEADLOCK, *second_half, DEADLOCK)
    result, batches = batches_of_four_users()
    assert (result.status, result.failed, batches) == ("partial", 1, [2, 1, 1])
    assert [failure.error for failure in result.errors] == ["provoked (SQLSTATE 40P01)"]


def test_missing_privilege_during_bisection_ends_the_run_without_failed_users() -> None:
    fail_moves_in_turn(POISON, *[NO_PRIVILEGE] * 9)
    result, batches = batches_of_four_users()
    assert (result.status, result.failed, batches) == ("failed", 0, [])


def test_mistake_in_the_code_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engagement.services.job.batch.goodbye_for", lambda *_asked, **_named: 1 / 0)
    make_users(1, "silent")
    assert run_job().failed == 1
    (message,) = logged_events(caplog, name="engagement_user_failed")
    assert isinstance(message["exc_info"], ZeroDivisionError)


def test_page_that_could_not_be_read_is_not_bisected(monkeypatch: pytest.MonkeyPatch) -> None:
    read = due_users.read_due_users
    failures = iter([deadlock(), deadlock()])

    def fail_twice(check: Check, users: QuerySet[UserEngagementState]) -> list[DueUser]:
        for failure in failures:
            raise failure
        return read(check, users)

    monkeypatch.setattr(due_users, "read_due_users", fail_twice)
    result, batches = batches_of_four_users()
    assert (result.status, batches) == ("failed", [])
    assert "Other programs kept the database busy" in str(result.failure)


def test_stop_during_a_conflict_interrupts_the_run_without_failed_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = StopRequest()
    read = due_users.read_due_users

    def stop_and_read(check: Check, users: QuerySet[UserEngagementState]) -> list[DueUser]:
        stop.ask(signal.SIGTERM)
        return read(check, users)

    monkeypatch.setattr(due_users, "read_due_users", stop_and_read)
    make_users(4, "silent")
    fail_moves_in_turn(*[DEADLOCK] * 9)
    result = run_job(stop=stop)
    assert (result.status, result.processed) == ("interrupted", 0)
    assert not UserEngagementState.objects.exclude(state=State.ACTIVE).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM faults")
        assert cursor.fetchone() == (1,)
