"""What a listener of a run is told."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time
from uuid_utils.compat import uuid7

from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.resilience.stop import StopRequest
from engagement.states import CHECKS
from tests.database import fail_moves_of
from tests.factories import NOW, make_users
from tests.integration.job.watching import Watcher
from tests.logged import logged_events
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


def test_listener_gets_the_number_of_due_users_and_of_those_who_are_done() -> None:
    users = make_users(5, "silent")
    make_users(2, "goodbye_sent")
    fail_moves_of(users[0])
    watcher = Watcher()
    request = RunRequest(job_id=uuid7(), now=NOW, batch_size=5)
    run_daily_job(request=request, listeners=[watcher])
    assert (watcher.due, sum(watcher.done)) == ([7], 7)


def test_listener_of_a_limited_run_expects_no_more_users_than_the_limit() -> None:
    make_users(3, "silent")
    make_users(3, "goodbye_sent")
    watcher = Watcher()
    run_daily_job(request=RunRequest(job_id=uuid7(), now=NOW, limit=4), listeners=[watcher])
    assert (watcher.due, sum(watcher.done)) == ([4], 4)


@pytest.mark.parametrize(("asked_for", "batches"), [(None, [3, 2]), (2, [2, 2, 1]), (5, [5])])
def test_listener_is_told_of_each_batch(
    settings: Settings, asked_for: int | None, batches: list[int]
) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 3
    make_users(5, "silent")
    watcher = Watcher()
    run_daily_job(request=RunRequest(job_id=uuid7(), now=NOW, batch_size=asked_for), listeners=[watcher])
    assert watcher.batches == batches


class Stopper(Watcher):
    """Asks for a stop after the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = StopRequest()

    def users_done(self, users: int) -> None:
        super().users_done(users)
        self.stop.ask(signal.SIGTERM)


def test_stop_during_the_last_check_interrupts_the_run() -> None:
    make_users(5, "silent")
    stopper = Stopper()
    request = RunRequest(job_id=uuid7(), now=NOW, batch_size=2, checks=CHECKS[:1])
    result = run_daily_job(request=request, stop=stopper.stop, listeners=[stopper])
    assert (result.status, result.succeeded) == ("interrupted", 2)


def test_every_line_of_the_log_carries_the_id_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    fail_moves_of(*make_users(1, "silent"))
    with freeze_time(NOW):
        result = run_job()
    logged = logged_events(caplog)
    assert [message["event"] for message in logged] == [
        "engagement_job_started",
        "engagement_user_failed",
        "engagement_job_completed",
    ]
    assert {message["job_id"] for message in logged} == {str(result.job_id)}


def test_duration_of_a_run_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 103.2504])
    monkeypatch.setattr("engagement.services.job.daily_job.time", SimpleNamespace(monotonic=seconds.__next__))
    assert run_job().duration_ms == 3250
