"""Plays a log in several processes, each with its share of the users and a scratch database of its own.

Nothing that happens to one user depends on another, so the shares add up to the whole.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from engagement.replay.replay_player import ReplayFailed, ReplayInterrupted
from engagement.replay.replay_result import PolicyResult
from engagement.replay.scratch_database import NoScratchDatabase
from engagement.services.resilience.errors import describe, loggable
from engagement.services.resilience.workers import POLL_SECONDS, fork_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

    from engagement.replay.replay_log import ReplayLog
    from engagement.services.resilience.stop import StopRequest

    Play = Callable[[ReplayLog, StopRequest, Callable[[], None]], Sequence[PolicyResult]]

MOST_SHARES: Final = 4
"""Each asks as much of the server as a daily job."""

USERS_OF_A_SHARE: Final = 500
"""For fewer it is quicker to let one process do it than to make one more database."""

_TOLD: Final = (ReplayFailed, ReplayInterrupted, NoScratchDatabase, ImproperlyConfigured)
"""What the parent raises as its own."""

log = structlog.get_logger("engagement")


@dataclass(slots=True)
class _Worker:
    """A process, and what it has said so far."""

    process: ForkProcess
    pipe: Connection
    days_done: int = 0
    results: Sequence[PolicyResult] = ()
    error: Exception | None = None

    @property
    def has_ended_well(self) -> bool:
        return bool(self.results)


def share_count(users: int) -> int:
    """Into how many shares so many users are best divided on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_SHARES, users // USERS_OF_A_SHARE))


def play_shares(
    whole: ReplayLog, *, shares: int, play: Play, stop: StopRequest, day_done: Callable[[], None]
) -> list[PolicyResult]:
    """Call `play` for each share of the log in a process of its own, and add up what they find.

    Forks, so the calling process must have no other threads. All processes have ended when this returns.
    `day_done` is called when the slowest of them has done a day.
    Raises what one of them raised, ReplayInterrupted when `stop` was asked to.
    """
    workers: list[_Worker] = []
    try:
        for number in range(shares):
            work = partial(_work, play, whole.share(number, of=shares))
            process, pipe = fork_worker(work, others=[worker.pipe for worker in workers])
            workers.append(_Worker(process, pipe))
        _listen(workers, stop=stop, day_done=day_done)
    finally:
        _ask_to_stop(workers)
        for worker in workers:
            worker.process.join()
    _raise_errors(workers)
    return [PolicyResult.sum(parts) for parts in zip(*(worker.results for worker in workers), strict=True)]


def _work(play: Play, share: ReplayLog, pipe: Connection, stop: StopRequest) -> None:
    """What a process does with its life: says True for each day, and in the end what it found."""

    def say(message: object) -> None:
        # Without a parent there is nobody to tell, and `stop` ends the work.
        with suppress(BrokenPipeError):
            pipe.send(message)

    try:
        say(play(share, stop, partial(say, True)))  # noqa: FBT003  the message
    except Exception as error:  # noqa: BLE001
        say(_told(error))


def _told(error: Exception) -> Exception:
    """The error, or what the parent is told of it: most cannot travel with all that belongs to them."""
    if isinstance(error, _TOLD):
        return error
    if isinstance(error, DatabaseError):
        return ReplayFailed(f"The replay met trouble with its database: {describe(error).rstrip('.')}.")
    log.error("engagement_replay_crashed", error=describe(error), exc_info=loggable(error))
    return ReplayFailed(f"The replay met an error that nobody foresaw: {describe(error).rstrip('.')}.")


def _listen(workers: Sequence[_Worker], *, stop: StopRequest, day_done: Callable[[], None]) -> None:
    """Take in what the workers say, until each has hung up. One that fails stops the others."""
    speaking = {worker.pipe: worker for worker in workers}
    days_told = 0
    while speaking:
        if stop.is_set() or any(worker.error for worker in workers):
            _ask_to_stop(workers)
        for pipe in wait(list(speaking), timeout=POLL_SECONDS):
            worker = speaking[pipe]  # type: ignore[index]  # wait() returns what it was given
            try:
                _take_in(worker, worker.pipe.recv())
            except EOFError:
                del speaking[worker.pipe]
        for _ in range(days_told, min(worker.days_done for worker in workers)):
            day_done()
        days_told = min(worker.days_done for worker in workers)


def _take_in(worker: _Worker, message: object) -> None:
    match message:
        case True:
            worker.days_done += 1
        case Exception():
            worker.error = message
        case list():
            worker.results = message


def _ask_to_stop(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.process.terminate()


def _raise_errors(workers: Sequence[_Worker]) -> None:
    errors = [worker.error or _death_of(worker) for worker in workers if not worker.has_ended_well]
    for error in errors:
        # Those who were only asked to stop know nothing of the reason.
        if not isinstance(error, ReplayInterrupted):
            raise error
    if errors:
        raise errors[0]


def _death_of(worker: _Worker) -> Exception:
    return ReplayFailed(
        f"A process of the replay ended with code {worker.process.exitcode} before its work was done;"
        " run the command again, which also drops the database that was left."
    )
