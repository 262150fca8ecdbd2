"""Several processes share one run: each claims batches as a run of its own would, and reports them.

Nothing but the claim keeps them apart. A worker that is killed loses nothing: what it had
committed stands in the audit log, and what it had not is still due, for the next run.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final

import structlog
from django.db import connection

from engagement.selectors import audit_log
from engagement.services.job.mover import Ending, Mover, ending_of
from engagement.services.job.result import UserFailure
from engagement.services.resilience.workers import POLL_SECONDS, fork_worker
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.services.job.mover import RunRequest
    from engagement.services.job.progress import Scoreboard
    from engagement.services.resilience.stop import StopRequest
    from engagement.states import Check

log = structlog.get_logger("engagement")

_CHECK_NAMED: Final = {check.name: check for check in CHECKS}


@dataclass(frozen=True, slots=True)
class _Moved:
    """What a worker says after each batch."""

    check_name: str
    count: int


@dataclass(frozen=True, slots=True)
class _CheckEnded:
    """What a worker says when a check has nobody left for it."""

    check_name: str


class _PipeReporter:
    """Tells the parent what became of users. A pipe each: a killed worker must not hold a lock of others."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def moved(self, check: Check, count: int) -> None:
        self.send(_Moved(check.name, count))

    def failed(self, failure: UserFailure) -> None:
        self.send(failure)

    def check_ended(self, check: Check) -> None:
        self.send(_CheckEnded(check.name))

    def send(self, message: _Moved | UserFailure | _CheckEnded | Ending) -> None:
        # Without a parent there is nobody to tell, and WorkerStop ends the work.
        with suppress(BrokenPipeError):
            self._pipe.send(message)


@dataclass(slots=True)
class _Worker:
    """A process, and how its work ended, once it has said so."""

    process: ForkProcess
    pipe: Connection
    ending: Ending | None = None


def move_with_workers(
    request: RunRequest, settings: EngagementSettings, *, stop: StopRequest, scoreboard: Scoreboard
) -> Ending:
    """Move whoever is due with `request.workers` processes, which have ended when this returns.

    Transaction: each worker opens its own, one per batch, on a connection of its own. Forks, so
    the calling process must have no other threads.
    """
    # A forked process must not inherit a connection.
    connection.close()
    workers: list[_Worker] = []
    try:
        for share in _shares(request):
            workers.append(_start(share, settings, others=workers))
        failures = _listen(workers, stop=stop, scoreboard=scoreboard)
    finally:
        _ask_to_stop(workers)
        for worker in workers:
            worker.process.join()
    reckoning = ending_of(partial(_reckon, request.job_id, workers, failures, scoreboard), stop=stop)
    endings = [*(worker.ending or _ending_of_the_dead(worker) for worker in workers), reckoning]
    failure = next((ending.failure for ending in endings if ending.failure), None)
    return Ending(all(ending.is_complete for ending in endings), failure)


def _shares(request: RunRequest) -> Iterator[RunRequest]:
    """Divide the limit: each worker claims from the same end, so together they claim the first ones."""
    if request.limit is None:
        yield from [request] * request.workers
        return
    each, left_over = divmod(request.limit, request.workers)
    for number in range(min(request.workers, request.limit)):
        yield replace(request, limit=each + (number < left_over))


def _start(request: RunRequest, settings: EngagementSettings, *, others: Sequence[_Worker]) -> _Worker:
    process, pipe = fork_worker(partial(_work, request, settings), others=[other.pipe for other in others])
    return _Worker(process, pipe)


def _work(request: RunRequest, settings: EngagementSettings, pipe: Connection, stop: StopRequest) -> None:
    """What a worker does with its life."""
    reporter = _PipeReporter(pipe)
    mover = Mover(request, settings, stop=stop, reporter=reporter)
    ending = ending_of(mover.move, stop=stop)
    connection.close()
    reporter.send(ending)


def _listen(workers: Iterable[_Worker], *, stop: StopRequest, scoreboard: Scoreboard) -> list[UserFailure]:
    """Take in what the workers say, until each has hung up; returns who they could not move."""
    speaking = {worker.pipe: worker for worker in workers}
    failures: list[UserFailure] = []
    still_asking = {name: len(speaking) for name in scoreboard.tallies}
    is_asked = False
    while speaking:
        if stop.is_set() and not is_asked:
            _ask_to_stop(speaking.values())
            log.info("engagement_stop_requested", workers=len(speaking))
            is_asked = True
        scoreboard.still_working()
        for pipe in wait(list(speaking), timeout=POLL_SECONDS):
            worker = speaking[pipe]  # type: ignore[index]  # wait() returns what it was given
            try:
                message = worker.pipe.recv()
            except EOFError:
                del speaking[worker.pipe]
                continue
            match message:
                case _Moved(check_name, count):
                    scoreboard.moved(_CHECK_NAMED[check_name], count)
                case UserFailure():
                    failures.append(message)
                case _CheckEnded(check_name):
                    still_asking[check_name] -= 1
                    if not still_asking[check_name]:
                        scoreboard.check_ended(_CHECK_NAMED[check_name])
                case Ending():
                    worker.ending = message
    return failures


def _ask_to_stop(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.process.terminate()


def _ending_of_the_dead(worker: _Worker) -> Ending:
    log.error("engagement_worker_died", pid=worker.process.pid, exit_code=worker.process.exitcode)
    return Ending(
        is_complete=False,
        failure=f"A worker process ended with code {worker.process.exitcode} before its work was done;"
        " what it had committed stays. Run the command again for the rest.",
    )


def _reckon(
    job_id: UUID, workers: Iterable[_Worker], failures: Sequence[UserFailure], scoreboard: Scoreboard
) -> bool:
    """Settle by the audit log what the workers cannot know of each other."""
    # Two workers may have met the same bad user, and one may have moved whom another could not.
    failed = {failure.user_id: failure for failure in failures}
    moved = audit_log.moved_by_run(job_id, user_ids=failed) if failed else set()
    for user_id, failure in failed.items():
        if user_id not in moved:
            scoreboard.failed(failure)
    # A dead worker's last batch may have been committed and not reported.
    if not all(worker.ending for worker in workers):
        for name, count in audit_log.count_transitions_of_run(job_id).items():
            scoreboard.tallies[name].succeeded = count
    return True
