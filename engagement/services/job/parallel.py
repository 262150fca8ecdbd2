"""Several workers share one run. Each claims batches as a run of its own would."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from engagement.selectors import audit_log
from engagement.services.job.check_run import check_runs_of, move_users
from engagement.services.job.result import Outcome, UserFailure, outcome_of
from engagement.services.resilience.workers import divided, run_workers

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.services.job.progress import RunProgress
    from engagement.services.job.request import RunRequest
    from engagement.services.resilience.stop import StopRequest
    from engagement.services.resilience.workers import Tell
    from engagement.states import Check


class WorkerProgress:
    """A worker's stand-in for RunProgress: the thread that started the run counts for all workers."""

    def __init__(self, progress: RunProgress, *, failures: dict[UUID, UserFailure], tell: Tell) -> None:
        """Put the users who fail into `failures`: another worker may move them later."""
        self._progress = progress
        self._failures = failures
        self._tell = tell

    def moved(self, check: Check, users: int) -> None:
        self._tell(partial(self._progress.moved, check, users))

    def has_moved(self, check: Check) -> bool:
        return self._progress.has_moved(check)

    def failed(self, failure: UserFailure) -> None:
        self._failures[failure.user_id] = failure

    def check_ended(self) -> None:
        self._tell(self._progress.check_ended)


def move_with_workers(
    request: RunRequest,
    settings: EngagementSettings,
    *,
    workers: int,
    stop: StopRequest,
    progress: RunProgress,
) -> Outcome:
    """Move the users who are due with several threads, which have ended when this returns.

    Transaction: each worker opens its own, one per batch, on a connection of its own.
    """
    # All workers claim from the same end, so together they claim the first users.
    shares = [replace(request, limit=limit) for limit in divided(request.limit, workers)]
    failures: dict[UUID, UserFailure] = {}
    outcomes: list[Outcome] = []

    def work(share: RunRequest, tell: Tell) -> Outcome:
        reports = WorkerProgress(progress, failures=failures, tell=tell)
        check_runs = check_runs_of(share, settings, stop=stop, progress=reports)
        return outcome_of(partial(move_users, check_runs, limit=share.limit), stop=stop)

    def move() -> bool:
        works = [partial(work, share) for share in shares]
        outcomes.extend(run_workers(works, stop=stop, on_poll=progress.still_working))
        _report_failures(request.job_id, failures, progress)
        return all(outcome.is_complete for outcome in outcomes)

    together = outcome_of(move, stop=stop)
    return next((outcome for outcome in outcomes if outcome.failure), together)


def _report_failures(job_id: UUID, failures: dict[UUID, UserFailure], progress: RunProgress) -> None:
    """Report the users who failed, but for those whom another worker has moved."""
    moved = audit_log.moved_by_run(job_id, user_ids=failures) if failures else set()
    for user_id, failure in failures.items():
        if user_id not in moved:
            progress.failed(failure)
