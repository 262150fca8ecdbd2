"""Worker threads that share one piece of work. Each has its own connection to the database."""

from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.db import Error as DatabaseError
from django.db import connection, connections

from engagement.conf import engagement_settings
from engagement.services.resilience.deadline import statement_deadline
from engagement.services.resilience.errors import describe
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopTogether

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engagement.services.resilience.stop import StopRequest

    Tell = Callable[[Callable[[], None]], None]
    Work = Callable[[Tell], Any]

FEW_BATCHES: Final = 2
"""Up to so many batches one worker is as fast as several, whose connections take time to open."""
POLL_SECONDS: Final = 0.2
"""How often `on_poll` is called."""

log = structlog.get_logger("engagement")


def choose_workers(workers: int, *, batch_size: int, has_more_than: Callable[[int], bool]) -> int:
    """How many of `workers` should share some work: one if it is few batches, or within a transaction.

    `has_more_than` says whether there are more than so many rows. Transaction: that of `has_more_than`.
    """
    if connection.in_atomic_block:
        # Other connections would not see its rows.
        return 1
    return workers if has_more_than(FEW_BATCHES * batch_size) else 1


def divided(limit: int | None, workers: int) -> list[int | None]:
    """The limit of each worker. There are no more workers than the limit is."""
    if limit is None:
        return [None] * workers
    each, left_over = divmod(limit, workers)
    return [each + (number < left_over) for number in range(min(workers, limit))]


def tell_at_once(told: Callable[[], None]) -> None:
    """The `tell` of a work that is called without workers."""
    told()


class _Worker(Thread):
    """A thread, and what its work returned or raised."""

    def __init__(self, work: Work, inbox: SimpleQueue[Any], *, waiting: StopTogether) -> None:
        # A second Ctrl-C ends the process at once, and with it the threads.
        super().__init__(daemon=True)
        self.work = work
        self._inbox = inbox
        self._waiting = waiting
        self._context = copy_context()
        self.has_begun = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._context.run(_wait_for_a_session, self._waiting)
            self.has_begun = True
            self.result = self._context.run(self.work, self._inbox.put)
        except BaseException as error:  # noqa: BLE001  run_workers raises it
            self.error = error
        finally:
            connections.close_all()
            self._inbox.put(self)


def _wait_for_a_session(stop: StopRequest) -> None:
    """Wait for a session of the server, as long as for a database that is away."""
    RetryPolicy.of(engagement_settings(), stop=stop).retry_outages(_ask_anything)


def _ask_anything() -> None:
    """A pooler accepts connections also while it has no session; the answer then takes long."""
    with statement_deadline(timedelta()), connection.cursor() as cursor:
        cursor.execute("SELECT")


def run_workers(
    works: Sequence[Work],
    *,
    stop: StopRequest,
    on_poll: Callable[[], None] = lambda: None,
    finish_here: bool = True,
) -> list[Any]:
    """Call each of `works` in a thread of its own; returns what they returned when all have ended.

    Each work gets a function `tell`, which takes a callable and has it called in the calling thread.
    `on_poll` is called there as well, several times a second. Works must check `stop` themselves; this
    function only logs the request. If the system has no more threads, or the database no more sessions,
    the remaining works run in the calling thread afterwards; without `finish_here` they are left out.
    Raises what a work raised, and what kept the works from beginning if none of them could run at all.
    """
    inbox: SimpleQueue[Any] = SimpleQueue()
    waiting = StopTogether(stop)
    workers = [_Worker(work, inbox, waiting=waiting) for work in works]
    running, is_stopping = _start(workers), False
    while running:
        if stop.is_set() and not is_stopping:
            is_stopping = True
            log.info("engagement_stop_requested", workers=running)
        on_poll()
        with suppress(Empty):
            told = inbox.get(timeout=POLL_SECONDS)
            if not isinstance(told, _Worker):
                told()
                continue
            running -= 1
            # The others need not wait for a session any longer: its work is done.
            waiting.is_over = waiting.is_over or told.has_begun
            if not (told.has_begun or stop.is_set()):
                log.warning("engagement_workers_missing", workers=running, error=_reason(told))
    return _results(workers, finish_here=finish_here)


def _results(workers: Sequence[_Worker], *, finish_here: bool) -> list[Any]:
    """What the workers returned, and the results of the works that this thread does for them."""
    begun = [worker for worker in workers if worker.has_begun]
    missing = [worker for worker in workers if not worker.has_begun]
    for worker in begun:
        if worker.error:
            raise worker.error
    if missing and not begun and not (finish_here and _caller_has_a_session()):
        raise missing[0].error or RuntimeError("no worker has begun")
    rest = missing if finish_here else []
    return [*(worker.result for worker in begun), *(worker.work(tell_at_once) for worker in rest)]


def _caller_has_a_session() -> bool:
    """Whether the database answers now: the workers have waited for it long enough.

    The session that is there is asked first, as there may be no other.
    """
    for _ in range(2):
        with suppress(DatabaseError, OSError):
            _ask_anything()
            return True
        connection.close()
    return False


def _reason(worker: _Worker) -> str:
    return describe(worker.error) if worker.error else ""


def _start(workers: Sequence[_Worker]) -> int:
    """Start the workers; returns how many the system had a thread for."""
    for number, worker in enumerate(workers):
        try:
            worker.start()
        except RuntimeError as error:
            log.warning("engagement_workers_missing", workers=number, error=str(error))
            for missing in workers[number:]:
                missing.error = error
            return number
    return len(workers)
