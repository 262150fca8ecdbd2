"""What several processes play adds up, and what goes wrong in one is told by the parent. Real processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from engagement.replay.activity_log import Event
from engagement.replay.replay_log import Message, ReplayLog
from engagement.replay.replay_player import ReplayFailed, ReplayInterrupted
from engagement.replay.replay_result import Comparison, Counts, DayResult, PolicyResult
from engagement.replay.replay_shares import play_shares
from engagement.replay.scratch_database import NoScratchDatabase
from engagement.services.resilience.stop import StopRequest
from tests.integration.replay.logs import MIDNIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engagement.replay.replay_shares import Play

EVENT: Final = Event("somebody", MIDNIGHT, "en", None, reengagement_opt_out=False)
LONG: Final = 60.0
"""Seconds. Only what goes wrong waits to the end of them."""

_fork: Final = multiprocessing.get_context("fork")


def numbers_in(log: ReplayLog) -> list[int]:
    return [message.user_id.int for message in log.messages]


def played(log: ReplayLog, *silences: int) -> list[PolicyResult]:
    """Of each user and each silence a goodbye."""
    counts = Counts(goodbyes=len(log.messages))
    return [PolicyResult(days, [DayResult(MIDNIGHT.date(), counts, {})], Comparison()) for days in silences]


def play_in(
    shares: int,
    play: Play,
    *,
    stop: StopRequest | None = None,
    day_done: Callable[[], None] = lambda: None,
) -> list[PolicyResult]:
    """Divide a log of ten users, whose numbers tell who gets whom: in two shares the even and the odd."""
    whole = ReplayLog(tuple(Message(UUID(int=number), EVENT, None) for number in range(10)))
    return play_shares(whole, shares=shares, play=play, stop=stop or StopRequest(), day_done=day_done)


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_policies_of_all_shares_add_up_one_by_one(shares: int) -> None:
    def play(share: ReplayLog, _stop: object, _day_done: object) -> list[PolicyResult]:
        assert len({number % shares for number in numbers_in(share)}) == 1
        return played(share, 7, 14)

    found = play_in(shares, play)
    assert [(policy.inactivity_days, policy.totals.goodbyes) for policy in found] == [(7, 10), (14, 10)]


def test_day_is_done_when_the_slowest_has_done_it_and_nobody_is_stopped_unasked() -> None:
    first_has_said_all, second_day_is_told = _fork.Event(), _fork.Event()
    told: list[int] = []

    def play(share: ReplayLog, stop: StopRequest, day_done: Callable[[], None]) -> list[PolicyResult]:
        is_first = numbers_in(share)[0] == 0
        if not is_first:
            assert first_has_said_all.wait(LONG)
        for _ in range(4 if is_first else 2):
            day_done()
        if is_first:
            first_has_said_all.set()
        # Two days have to be told while both are still at work.
        assert second_day_is_told.wait(LONG)
        assert not stop.is_set()
        if not is_first:
            day_done()
        return played(share, 14)

    def day_done() -> None:
        told.append(len(told) + 1)
        if len(told) == 2:
            second_day_is_told.set()

    play_in(2, play, day_done=day_done)
    assert told == [1, 2, 3]


def test_each_day_of_an_only_share_is_done_at_once() -> None:
    told = []

    def play(share: ReplayLog, _stop: object, day_done: Callable[[], None]) -> list[PolicyResult]:
        day_done()
        day_done()
        return played(share, 14)

    play_in(1, play, day_done=lambda: told.append(True))
    assert told == [True, True]


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ReplayFailed("The job failed."), ReplayFailed, "The job failed."),
        (NoScratchDatabase("Not allowed."), NoScratchDatabase, "Not allowed."),
        (ImproperlyConfigured("Wrong."), ImproperlyConfigured, "Wrong."),
        (ReplayInterrupted(), ReplayInterrupted, ""),
        (
            DatabaseError("no room for X.\nDETAIL: (ana)"),
            ReplayFailed,
            "The replay met trouble with its database: no room for X.",
        ),
        (
            LookupError(".hidden X."),
            ReplayFailed,
            "The replay met an error that nobody foresaw: LookupError: .hidden X.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_of_a_process_is_raised_in_the_words_of_the_replay(
    error: Exception, kind: type[Exception], sentence: str
) -> None:
    def play(_share: object, _stop: object, _day_done: object) -> Any:
        raise error

    with pytest.raises(kind) as raised:
        play_in(1, play)
    assert (type(raised.value), str(raised.value)) == (kind, sentence)


@pytest.mark.parametrize("failing", [0, 1])
def test_share_that_fails_stops_the_others_and_its_reason_is_told(failing: int) -> None:
    def play(share: ReplayLog, stop: StopRequest, _day_done: object) -> list[PolicyResult]:
        if numbers_in(share)[0] == failing:
            raise ReplayFailed("The job failed.")
        stop.wait(LONG)
        assert stop.is_set()
        raise ReplayInterrupted

    with pytest.raises(ReplayFailed, match=r"The job failed\."):
        play_in(2, play)


def test_stop_reaches_every_share_though_none_says_a_word() -> None:
    stop, parent_listens = StopRequest(), _fork.Event()

    def play(share: ReplayLog, stop: StopRequest, day_done: Callable[[], None]) -> list[PolicyResult]:
        day_done()
        if numbers_in(share)[0] == 0:
            assert parent_listens.wait(LONG)
            os.kill(os.getppid(), signal.SIGUSR1)
        stop.wait(LONG)
        assert stop.is_set()
        raise ReplayInterrupted

    before = signal.signal(signal.SIGUSR1, stop.ask)
    try:
        with pytest.raises(ReplayInterrupted):
            play_in(2, play, stop=stop, day_done=parent_listens.set)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_killed_process_is_told_by_its_code() -> None:
    def play(share: ReplayLog, _stop: object, _day_done: object) -> list[PolicyResult]:
        if numbers_in(share)[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return played(share, 14)

    with pytest.raises(ReplayFailed) as raised:
        play_in(2, play)
    assert str(raised.value) == (
        "A process of the replay ended with code -9 before its work was done;"
        " run the command again, which also drops the database that was left."
    )
