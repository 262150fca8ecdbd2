"""Several worker processes share one run. Each claims batches as a run of its own would.

Only the claim keeps them apart. A killed worker loses nothing: the audit log has what it committed, and
the rest is still due for the next run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from engagement.selectors import audit_log
from engagement.services.job.check_run import check_runs_of, move_users
from engagement.services.job.result import Outcome, UserFailure, outcome_of
from engagement.services.resilience.workers import run_workers
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.services.job.progress import RunProgress
    from engagement.services.job.request import RunRequest
    from engagement.services.resilience.stop import StopRequest
    from engagement.services.resilience.workers import Worker
    from engagement.states import Check

log = structlog.get_logger("engagement")

_CHECKS_BY_NAME = {check.name: check for check in CHECKS}


class WorkerProgress:
    """A worker's stand-in for RunProgress: sends each call to the parent, by name and arguments."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send

    def moved(self, check: Check, users: int) -> None:
        self._send(("moved", check.name, users))

    def failed(self, failure: UserFailure) -> None:
        self._send(("failed", failure.check_name, failure))

    def check_ended(self, check: Check) -> None:
        self._send(("check_ended", check.name, None))


class _WorkersProgress:
    """The parent's side: adds up what the workers send."""

    def __init__(self, progress: RunProgress, *, workers: int) -> None:
        self._progress = progress
        self._still_moving = Counter(dict.fromkeys(progress.checks, workers))
        self.failures: dict[UUID, UserFailure] = {}
        """By user: several workers may have met the same one."""

    def take(self, message: tuple[str, str, Any]) -> None:
        kind, check_name, value = message
        check = _CHECKS_BY_NAME[check_name]
        match kind:
            case "moved":
                self._progress.moved(check, value)
            case "failed":
                self.failures[value.user_id] = value
            case "check_ended":
                self._still_moving[check_name] -= 1
                if not self._still_moving[check_name]:
                    self._progress.check_ended(check)


def move_with_workers(
    request: RunRequest, settings: EngagementSettings, *, stop: StopRequest, progress: RunProgress
) -> Outcome:
    """Move the users who are due with `request.workers` processes, which have ended when this returns.

    Transaction: each worker opens its own, one per batch, on a connection of its own. Forks, so the
    calling process must have no other threads.
    """
    shares = list(_shares(request))
    sums = _WorkersProgress(progress, workers=len(shares))
    workers = run_workers(
        [partial(_work, share, settings) for share in shares],
        on_message=sums.take,
        on_poll=progress.still_working,
        stop=stop,
    )
    reconcile = partial(_reconcile, request.job_id, workers, sums.failures, progress)
    outcomes = [*map(_outcome, workers), outcome_of(reconcile, stop=stop)]
    failed = next((outcome for outcome in outcomes if outcome.failure), None)
    return failed or Outcome(all(outcome.is_complete for outcome in outcomes))


def _shares(request: RunRequest) -> Iterator[RunRequest]:
    """Divide the limit. All workers claim from the same end, so together they claim the first users."""
    if request.limit is None:
        yield from [request] * request.workers
        return
    each, left_over = divmod(request.limit, request.workers)
    for number in range(min(request.workers, request.limit)):
        yield replace(request, limit=each + (number < left_over))


def _work(
    request: RunRequest, settings: EngagementSettings, send: Callable[[Any], None], stop: StopRequest
) -> Outcome:
    check_runs = check_runs_of(request, settings, stop=stop, progress=WorkerProgress(send))
    return outcome_of(partial(move_users, check_runs, limit=request.limit), stop=stop)


def _outcome(worker: Worker) -> Outcome:
    if worker.results:
        outcome: Outcome = worker.results[0]
        return outcome
    exit_code = worker.process.exitcode
    log.error("engagement_worker_died", pid=worker.process.pid, exit_code=exit_code)
    failure = (
        f"A worker process ended with code {exit_code} before its work was done;"
        " what it had committed stays. Run the command again for the rest."
    )
    return Outcome(is_complete=False, failure=failure, failure_summary=failure)


def _reconcile(
    job_id: UUID, workers: list[Worker], failures: dict[UUID, UserFailure], progress: RunProgress
) -> bool:
    """Settle by the audit log what the workers cannot know of each other."""
    # One worker may have moved a user whom another could not move.
    moved = audit_log.moved_by_run(job_id, user_ids=failures) if failures else set()
    for user_id, failure in failures.items():
        if user_id not in moved:
            progress.failed(failure)
    # The last batch of a dead worker may have been committed and not reported.
    if not all(worker.results for worker in workers):
        for name, count in audit_log.count_transitions_of_run(job_id).items():
            progress.checks[name].succeeded = count
    return True
