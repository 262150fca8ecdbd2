"""Waiting that a stop cuts short. No database, and no time passes."""

from __future__ import annotations

import signal

import pytest

from engagement.services.patience import StopRequest


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each of the sleeps would have been."""
    sleeps: list[float] = []
    monkeypatch.setattr("engagement.services.patience.time.sleep", sleeps.append)
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

    monkeypatch.setattr("engagement.services.patience.time.sleep", ask)
    stop.wait(60)
    assert asked == [0.1]


def test_nobody_waits_once_a_stop_was_asked_for(slept: list[float]) -> None:
    stop = StopRequest()
    stop.ask(signal.SIGINT)
    stop.wait(60)
    assert slept == []
