"""What is retried, how often and how long. Without a database, and without time passing."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection

from engagement.services.resilience.errors import BatchError
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
from engagement.services.resilience.transactions import Batch
from tests.faults import deadlock_of_a_batch
from tests.logged import logged_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each sleep."""
    sleeps: list[float] = []
    monkeypatch.setattr("engagement.services.resilience.stop.time.sleep", sleeps.append)
    return sleeps


@pytest.mark.parametrize(
    ("seconds", "sleeps"), [(0, []), (0.05, [0.05]), (0.1, [0.1]), (0.25, [0.1, 0.1, 0.05])]
)
def test_wait_is_slept_in_small_steps(slept: list[float], seconds: float, sleeps: list[float]) -> None:
    StopRequest().wait(seconds)
    assert slept == pytest.approx(sleeps)


def test_wait_ends_with_the_step_in_which_a_stop_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    asked: list[float] = []

    def ask(seconds: float) -> None:
        asked.append(seconds)
        stop.ask(signal.SIGTERM)

    monkeypatch.setattr("engagement.services.resilience.stop.time.sleep", ask)
    stop.wait(60)
    assert asked == [0.1]


def test_no_wait_after_a_stop_was_asked_for(slept: list[float]) -> None:
    stop = StopRequest()
    stop.ask(signal.SIGINT)
    stop.wait(60)
    assert slept == []


class Clock(StopRequest):
    """A clock that moves by waiting only, and waits in no time."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("engagement.services.resilience.retries.time", clock)
    return clock


@pytest.fixture
def closed_at(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the connection was closed."""
    closings: list[float] = []
    monkeypatch.setattr(connection, "close", lambda: closings.append(clock.seconds))
    return closings


@dataclass
class Step:
    """Fails with each of these errors in turn, and succeeds after the last."""

    clock: Clock
    errors: Sequence[Exception]
    takes_seconds: float = 0
    asked_at: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        attempt = len(self.asked_at)
        self.asked_at.append(self.clock.seconds)
        self.clock.seconds += self.takes_seconds
        if attempt < len(self.errors):
            raise self.errors[attempt]
        return "done"


def policy_of(clock: Clock, *, limit_seconds: float = 24) -> RetryPolicy:
    return RetryPolicy(
        stop=clock,
        attempts=3,
        reconnect_limit=timedelta(seconds=limit_seconds),
        lock_timeout=timedelta(seconds=5),
    )


def read(clock: Clock, step: Step) -> str:
    policy = policy_of(clock)
    return policy.retry_outages(lambda: policy.retry_conflicts(step))


def test_database_that_is_away_is_asked_at_growing_intervals_until_the_limit(
    clock: Clock, closed_at: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    away = OperationalError("connection refused")
    step = Step(clock, [away] * 99)
    with pytest.raises(OperationalError) as raised:
        policy_of(clock).retry_outages(step)
    assert raised.value is away
    assert step.asked_at == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 24]
    assert closed_at == step.asked_at
    logged = logged_events(caplog)
    assert [message["next_attempt_in_seconds"] for message in logged] == [0.5, 1, 2, 4, 8, 8, 0.5]
    assert {message["error"] for message in logged} == {"connection refused"}


@pytest.mark.usefixtures("closed_at")
def test_time_before_the_first_failure_does_not_count(clock: Clock) -> None:
    step = Step(clock, [OperationalError("gone"), OperationalError("gone")], takes_seconds=9.5)
    assert policy_of(clock, limit_seconds=11).retry_outages(step) == "done"
    assert step.asked_at == [0, 10, 20.5]


@pytest.mark.usefixtures("closed_at")
def test_stop_ends_the_wait_for_a_database(clock: Clock) -> None:
    clock.ask(signal.SIGTERM)
    step = Step(clock, [OperationalError("gone")])
    with pytest.raises(OperationalError):
        policy_of(clock).retry_outages(step)
    assert step.asked_at == [0]


def test_conflict_is_retried_so_many_times_after_short_waits(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [deadlock_of_a_batch() for _ in range(3)]
    step = Step(clock, errors)
    with pytest.raises(BatchError) as raised:
        policy_of(clock).retry_conflicts(step)
    assert raised.value is errors[-1]
    assert len(step.asked_at) == 3
    first, second, third = step.asked_at
    assert first + 0.01 <= second <= first + 0.25
    assert second + 0.01 <= third <= second + 0.25
    logged = logged_events(caplog)
    assert [message["error"] for message in logged] == ["deadlock detected (SQLSTATE 40P01)"] * 2


def test_stop_ends_the_retries_of_a_conflict(clock: Clock) -> None:
    clock.ask(signal.SIGTERM)
    step = Step(clock, [deadlock_of_a_batch()])
    with pytest.raises(BatchError):
        policy_of(clock).retry_conflicts(step)
    assert step.asked_at == [0]


@pytest.mark.usefixtures("closed_at")
def test_conflicts_and_outages_are_retried_together(clock: Clock) -> None:
    step = Step(
        clock, [deadlock_of_a_batch(), OperationalError("gone"), deadlock_of_a_batch(), deadlock_of_a_batch()]
    )
    assert read(clock, step) == "done"


class Lost(BatchError):
    """The connection broke while a batch of three users was committed."""

    def __init__(self) -> None:
        super().__init__(Batch(items=[1, 2, 3], written_id=uuid4()))
        self.__cause__ = OperationalError("the connection is lost")


def failing(error: BatchError) -> Callable[[], Batch[int]]:
    def attempt() -> Batch[int]:
        raise error

    return attempt


@pytest.mark.usefixtures("closed_at")
@pytest.mark.parametrize(
    "answers",
    [
        [OperationalError("gone")] * 99,
        [deadlock_of_a_batch()] * 3,
        [IntegrityError("no")],
    ],
    ids=["away", "locked", "refused"],
)
def test_commit_of_which_nobody_could_tell_is_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture, answers: list[Exception]
) -> None:
    ask = Step(clock, answers)
    with pytest.raises((OperationalError, BatchError, IntegrityError)):
        policy_of(clock).commit(failing(Lost()), was_committed=lambda _batch: bool(ask()))
    assert in_doubt(caplog) == [3]


@pytest.mark.usefixtures("closed_at")
def test_commit_that_was_found_is_not_in_doubt(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    lost = Lost()
    assert policy_of(clock).commit(failing(lost), was_committed=lambda _batch: True) is lost.batch
    assert in_doubt(caplog) == []


def test_batch_that_was_certainly_rolled_back_is_not_in_doubt(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    refused = Lost()
    refused.__cause__ = IntegrityError("a deferred constraint")
    with pytest.raises(BatchError):
        policy_of(clock).commit(failing(refused), was_committed=lambda _batch: True)
    assert in_doubt(caplog) == []


def in_doubt(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [event["users"] for event in logged_events(caplog, name="engagement_commit_in_doubt")]


def test_error_of_the_data_is_raised_at_once(clock: Clock, closed_at: list[float]) -> None:
    step = Step(clock, [IntegrityError("no")])
    with pytest.raises(IntegrityError):
        read(clock, step)
    assert (step.asked_at, closed_at) == ([0], [])
