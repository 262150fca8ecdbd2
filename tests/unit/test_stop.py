"""Signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from engagement.services.resilience.stop import STOP_SIGNALS, StopAfter, StopRequest, stop_on_signals


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_first_signal_asks_for_a_stop_and_the_second_has_its_usual_effect(number: int) -> None:
    stop, former = StopRequest(), handlers()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        assert (stop.signal_number, handlers()) == (number, former)


def test_former_handlers_are_back_afterwards() -> None:
    former = handlers()
    with stop_on_signals(StopRequest()):
        assert handlers() != former
    assert handlers() == former


def test_signal_between_the_installation_of_two_handlers_asks_for_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, former, install = StopRequest(), handlers(), signal.signal

    def install_and_signal(number: int, handler: Any) -> Any:
        result = install(number, handler)
        if number == signal.SIGINT and not stop.is_set() and handler not in former:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(signal, "signal", install_and_signal)
    with stop_on_signals(stop):
        pass
    assert stop.signal_number == signal.SIGINT
    assert handlers() == former


def test_stop_is_set_after_its_seconds_or_by_a_signal() -> None:
    assert StopAfter(0).is_set()
    stop = StopAfter(3600)
    assert not stop.is_set()
    stop.ask(signal.SIGTERM)
    assert stop.is_set()
