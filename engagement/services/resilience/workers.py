"""Worker processes that share one piece of work. Each has a pipe to its parent, and stops on request."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.db import connection

from engagement.services.resilience.stop import STOP_SIGNALS, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.context import ForkProcess

    Send = Callable[[Any], None]
    Work = Callable[[Send, StopRequest], Any]

POLL_SECONDS: Final = 0.2
"""How soon the parent notices a stop request."""

_fork: Final = multiprocessing.get_context("fork")

log = structlog.get_logger("engagement")


@dataclass(slots=True)
class Worker:
    """A process, and what its work returned."""

    process: ForkProcess
    pipe: Connection
    results: list[Any] = field(default_factory=list)
    """What the work returned; empty if the process died first."""


@dataclass(frozen=True, slots=True)
class _Result:
    """The last thing that a worker sends."""

    value: Any


class _WorkerStop(StopRequest):
    """Set by the parent's SIGTERM, or by the parent's death."""

    def __init__(self, parent_id: int) -> None:
        super().__init__()
        self._parent_id = parent_id

    def is_set(self) -> bool:
        return super().is_set() or os.getppid() != self._parent_id


def run_workers(
    works: Sequence[Work],
    *,
    on_message: Callable[[Any], None],
    on_poll: Callable[[], None],
    stop: StopRequest,
) -> list[Worker]:
    """Call each of `works` in a process of its own; all processes have ended when this returns.

    A work gets a function that sends an object to `on_message` in this process, and a stop request.
    `on_poll` is called several times a second.
    Forks, so the calling process must have no other threads. Closes the connection to the database.
    """
    # A forked process must not inherit a connection.
    connection.close()
    workers: list[Worker] = []
    try:
        for work in works:
            workers.append(_start(work, others=[worker.pipe for worker in workers]))
        _listen(workers, on_message=on_message, on_poll=on_poll, stop=stop)
    finally:
        _terminate(workers)
        for worker in workers:
            worker.process.join()
    return workers


def _start(work: Work, *, others: Iterable[Connection]) -> Worker:
    pipe, pipe_of_worker = _fork.Pipe(duplex=False)
    inherited = [pipe, *others]
    process = _fork.Process(target=_run, args=(work, pipe_of_worker, inherited, os.getpid()), daemon=True)
    # No signal may reach the worker while it still has the handlers of its parent.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    pipe_of_worker.close()
    return Worker(process, pipe)


def _run(work: Work, pipe: Connection, inherited: Iterable[Connection], parent_id: int) -> None:
    """The life of a worker process."""
    for other in inherited:
        other.close()
    stop = _WorkerStop(parent_id)
    # Ctrl-C reaches the whole process group; the parent decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    send = partial(_send, pipe)
    result = work(send, stop)
    connection.close()
    send(_Result(result))


def _send(pipe: Connection, message: object) -> None:
    # Without a parent there is no reader, and the stop request ends the work.
    with suppress(BrokenPipeError):
        pipe.send(message)


def _listen(
    workers: Iterable[Worker],
    *,
    on_message: Callable[[Any], None],
    on_poll: Callable[[], None],
    stop: StopRequest,
) -> None:
    """Pass on what the workers send until each has closed its pipe."""
    running = {worker.pipe: worker for worker in workers}
    is_stopping = False
    while running:
        if stop.is_set() and not is_stopping:
            _terminate(running.values())
            log.info("engagement_stop_requested", workers=len(running))
            is_stopping = True
        on_poll()
        for pipe in wait(list(running), timeout=POLL_SECONDS):
            worker = running[pipe]  # type: ignore[index]  # wait() returns what it was given
            try:
                message = worker.pipe.recv()
            except EOFError:
                del running[worker.pipe]
                continue
            if isinstance(message, _Result):
                worker.results.append(message.value)
            else:
                on_message(message)


def _terminate(workers: Iterable[Worker]) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.process.terminate()
