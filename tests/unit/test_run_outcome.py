"""How a run ends after an error. No database."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NoReturn

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError

from engagement.services.job.result import Outcome, outcome_of
from engagement.services.resilience.stop import StopRequest
from tests.faults import deadlock, deadlock_of_a_batch

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def stop() -> StopRequest:
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    return stop


def fail_with(error: Exception) -> Callable[[], NoReturn]:
    def work() -> NoReturn:
        raise error

    return work


@pytest.mark.parametrize("is_complete", [True, False])
def test_outcome_is_complete_if_the_work_is(*, is_complete: bool) -> None:
    assert outcome_of(lambda: is_complete, stop=StopRequest()) == Outcome(is_complete=is_complete)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            OperationalError("connection refused."),
            "The database is not available: connection refused. Run the command again when it is.",
        ),
        (
            ProgrammingError("no such option"),
            (
                "The database cannot be used like this: no such option."
                " Check DATABASE_URL and the privileges of its user, and run `manage.py migrate`."
            ),
        ),
        (
            deadlock_of_a_batch(),
            (
                "Other programs kept the database busy for too long: deadlock detected (SQLSTATE 40P01)."
                " Run the command again."
            ),
        ),
        (
            KeyError("x"),
            "The run met an unexpected error: KeyError: 'x'. The log has its traceback.",
        ),
    ],
    ids=["outage", "setup", "concurrency", "mistake"],
)
def test_error_becomes_a_sentence_with_what_to_do(error: Exception, failure: str) -> None:
    assert outcome_of(fail_with(error), stop=StopRequest()).failure == failure


@pytest.mark.parametrize(
    "error",
    [OperationalError("gone"), deadlock(), deadlock_of_a_batch()],
    ids=["outage", "concurrency", "of a batch"],
)
def test_wait_that_a_stop_request_ended_is_no_failure(error: Exception, stop: StopRequest) -> None:
    assert outcome_of(fail_with(error), stop=stop) == Outcome(is_complete=False, failure=None)


@pytest.mark.parametrize("error", [ProgrammingError("no such option"), KeyError("x")], ids=str)
def test_other_failure_is_reported_despite_a_stop_request(error: Exception, stop: StopRequest) -> None:
    assert outcome_of(fail_with(error), stop=stop).failure


@pytest.mark.parametrize(
    ("error", "has_traceback"), [(KeyError("x"), True), (IntegrityError("Failing row contains …"), False)]
)
def test_unexpected_error_is_logged_with_traceback_unless_it_may_include_rows(
    caplog: pytest.LogCaptureFixture, error: Exception, *, has_traceback: bool
) -> None:
    outcome_of(fail_with(error), stop=StopRequest())
    (record,) = caplog.records
    assert isinstance(record.msg, dict)
    assert record.msg["event"] == "engagement_job_crashed"
    assert record.msg["exc_info"] is (error if has_traceback else None)


@pytest.mark.parametrize(
    ("outcome", "without_failures", "with_failures"),
    [
        (Outcome(is_complete=True), "succeeded", "partial"),
        (Outcome(is_complete=False), "interrupted", "interrupted"),
        (Outcome(is_complete=False, failure="gone"), "failed", "failed"),
    ],
)
def test_status_depends_on_the_outcome_and_on_failed_users(
    outcome: Outcome, without_failures: str, with_failures: str
) -> None:
    assert outcome.status(has_failures=False) == without_failures
    assert outcome.status(has_failures=True) == with_failures
