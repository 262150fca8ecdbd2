"""Several workers share one run. Each claims batches as a run of its own would."""

from __future__ import annotations

from collections import Counter
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
    """A worker's stand-in for RunProgress: passes each call on to the thread that started the run."""

    def __init__(self, shared: _SharedProgress, tell: Tell) -> None:
        self._shared = shared
        self._tell = tell

    def moved(self, check: Check, users: int) -> None:
        self._tell(partial(self._shared.moved, check, users))

    def has_moved(self, check: Check) -> bool:
        return self._shared.has_moved(check)

    def failed(self, failure: UserFailure) -> None:
        self._tell(partial(self._shared.failed, failure))

    def check_ended(self, check: Check) -> None:
        self._tell(partial(self._shared.check_ended, check))


class _SharedProgress:
    """Adds up what the workers tell."""

    def __init__(self, progress: RunProgress, *, workers: int) -> None:
        self.moved, self.has_moved = progress.moved, progress.has_moved
        self._progress = progress
        self._still_moving = Counter(dict.fromkeys(progress.checks, workers))
        self.failures: dict[UUID, UserFailure] = {}
        """By user: several workers may have met the same one."""

    def failed(self, failure: UserFailure) -> None:
        self.failures[failure.user_id] = failure

    def check_ended(self, check: Check) -> None:
        self._still_moving[check.name] -= 1
        if not self._still_moving[check.name]:
            self._progress.check_ended(check)


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
    shared = _SharedProgress(progress, workers=len(shares))
    works = [partial(_work, share, settings, stop, shared) for share in shares]
    outcomes: list[Outcome] = []

    def move() -> bool:
        outcomes.extend(run_workers(works, stop=stop, on_poll=progress.still_working))
        _report_failures(request.job_id, shared.failures, progress)
        return all(outcome.is_complete for outcome in outcomes)

    together = outcome_of(move, stop=stop)
    return next((outcome for outcome in outcomes if outcome.failure), together)


def _work(
    request: RunRequest, settings: EngagementSettings, stop: StopRequest, shared: _SharedProgress, tell: Tell
) -> Outcome:
    check_runs = check_runs_of(request, settings, stop=stop, progress=WorkerProgress(shared, tell))
    return outcome_of(partial(move_users, check_runs, limit=request.limit), stop=stop)


def _report_failures(job_id: UUID, failures: dict[UUID, UserFailure], progress: RunProgress) -> None:
    """Report the users who failed, but for those whom another worker has moved."""
    moved = audit_log.moved_by_run(job_id, user_ids=failures) if failures else set()
    for user_id, failure in failures.items():
        if user_id not in moved:
            progress.failed(failure)
