"""Forked processes that share a piece of work: each has a pipe to its parent, and stops when asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Final

from engagement.services.resilience.stop import StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

POLL_SECONDS: Final = 0.2
"""How soon a parent notices that it was asked to stop."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_fork: Final = multiprocessing.get_context("fork")


class WorkerStop(StopRequest):
    """Made by the parent's SIGTERM, or by its death."""

    def __init__(self, parent_id: int) -> None:
        super().__init__()
        self._parent_id = parent_id

    def is_set(self) -> bool:
        return super().is_set() or os.getppid() != self._parent_id


def fork_worker(
    work: Callable[[Connection, StopRequest], None], *, others: Iterable[Connection]
) -> tuple[ForkProcess, Connection]:
    """Start a process that does `work`, and says what it has to say into the pipe that is returned.

    The calling process must have no other threads. `others` are its pipes to other workers.
    """
    pipe, pipe_of_worker = _fork.Pipe(duplex=False)
    inherited = [pipe, *others]
    process = _fork.Process(target=_live, args=(work, pipe_of_worker, inherited, os.getpid()), daemon=True)
    # No signal may reach the worker while it still has the handlers of its parent.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    pipe_of_worker.close()
    return process, pipe


def _live(
    work: Callable[[Connection, StopRequest], None],
    pipe: Connection,
    inherited: Iterable[Connection],
    parent_id: int,
) -> None:
    for other in inherited:
        other.close()
    stop = WorkerStop(parent_id)
    # Ctrl-C reaches the whole group; the parent decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    work(pipe, stop)
