"""The daily job: three checks, in batches, each batch all or nothing."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import structlog
from django.db import Error as DatabaseError
from django.utils import timezone

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.schedule import gap_to_clock
from engagement.selectors.deliveries import database_now
from engagement.services.job.check_run import check_runs_of, count_due, count_skipped, move_users
from engagement.services.job.ledger import RunLedger
from engagement.services.job.parallel import move_with_workers
from engagement.services.job.progress import RunProgress
from engagement.services.job.request import RunRequest
from engagement.services.job.result import Outcome, RunResult, log_completed, outcome_of
from engagement.services.job.safety_limit import has_safety_limit, reason_to_stop
from engagement.services.message_queue import mark_expired_claims
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
from engagement.services.resilience.transactions import in_transaction
from engagement.services.resilience.workers import choose_workers
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.conf import EngagementSettings
    from engagement.services.job.progress import RunListener

__all__ = ["RunRequest", "run_daily_job"]

log = structlog.get_logger("engagement")


def run_daily_job(
    *, request: RunRequest, stop: StopRequest | None = None, listeners: Sequence[RunListener] = ()
) -> RunResult:
    """Ask each check who is due, and move those users.

    Transaction: opens one per batch and per write to the ledger; must not be called inside another.
    Several workers share a large run, each in a thread and on a connection of its own; within a
    transaction, as in a test, there is one.
    Repeatable, also at the same time and after a crash: a user who was moved is no longer due.
    Raises ImproperlyConfigured for impossible or misspelt settings. Anything else that stops the run
    ends it as failed, with the reason in `failure`; committed batches stay.
    """
    started = time.monotonic()
    refuse_misspelt_names()
    run = _Run(request, engagement_settings(), stop=stop or StopRequest(), listeners=listeners)
    with structlog.contextvars.bound_contextvars(job_id=str(request.job_id)):
        _log_started(request)
        run.announce()
        outcome = run.carry_out()
        result = run.result(outcome, started=started)
        log_completed(
            "engagement_job_completed",
            status=result.status.value,
            failure=result.failure,
            **result.counts(),
            still_due=result.still_due,
            dry_run=result.dry_run,
            duration_ms=result.duration_ms,
        )
        run.conclude(result)
    return result


class _Run:
    """One execution of the job."""

    def __init__(
        self,
        request: RunRequest,
        settings: EngagementSettings,
        *,
        stop: StopRequest,
        listeners: Sequence[RunListener],
    ) -> None:
        self._request = request
        self._settings = settings
        self._stop = stop
        if not request.dry_run:
            listeners = [*listeners, RunLedger(request, settings), *_heartbeat(request, settings)]
        self._progress = RunProgress(request, listeners=listeners)
        self._check_runs = check_runs_of(request, settings, stop=stop, progress=self._progress)
        self._too_large: str | None = None
        self._workers = 1

    def announce(self) -> None:
        for listener in self._progress.listeners:
            listener.run_started(self._progress)

    def carry_out(self) -> Outcome:
        """Count, then move."""
        counting = outcome_of(self._prepare, stop=self._stop)
        if self._request.dry_run or not counting.is_complete:
            return counting
        if self._too_large:
            return Outcome(is_complete=False, failure=self._too_large, failure_summary=self._too_large)
        if self._workers > 1:
            return move_with_workers(
                self._request,
                self._settings,
                workers=self._workers,
                stop=self._stop,
                progress=self._progress,
            )
        return outcome_of(partial(move_users, self._check_runs, limit=self._request.limit), stop=self._stop)

    def result(self, outcome: Outcome, *, started: float) -> RunResult:
        total = self._progress.total
        return RunResult(
            job_id=self._request.job_id,
            now=self._request.now,
            dry_run=self._request.dry_run,
            status=outcome.status(has_failures=total.failed > 0),
            duration_ms=round((time.monotonic() - started) * 1000),
            checks=self._progress.checks,
            errors=tuple(self._progress.failures),
            failure=outcome.failure,
            failure_summary=outcome.failure_summary,
            too_large=self._too_large,
            still_due=self._still_due(outcome),
            signal_number=self._stop.signal_number,
        )

    def conclude(self, result: RunResult) -> None:
        for listener in self._progress.listeners:
            listener.run_ended(self._progress, result)

    def _prepare(self) -> bool:
        if not self._request.dry_run:
            # Before the timeouts, which tell apart what was never sent and what perhaps was.
            retries = RetryPolicy.of(self._settings, stop=self._stop)
            retries.retry(lambda: mark_expired_claims(now=database_now()))
            self._workers = self._choose_workers()
        return self._count()

    def _choose_workers(self) -> int:
        """As many as asked for; unasked, as many as the setting says if more than a few batches are due."""
        asked = self._request.workers
        return choose_workers(
            asked or self._settings.workers,
            batch_size=self._request.batch_size or self._settings.batch_size,
            has_more_than=lambda users: bool(asked) or self._has_more_than(users),
        )

    def _has_more_than(self, users: int) -> bool:
        """Whether the run will move more than so many users of one check."""
        if self._request.limit is not None and self._request.limit <= users:
            return False
        return any(check_run.more_are_due_than(users) for check_run in self._check_runs)

    def _count(self) -> bool:
        """Count the skipped users, and the due ones where their number is needed before anyone moves."""
        for name, skipped in count_skipped(self._check_runs).items():
            self._progress.checks[name].skipped = skipped
        is_limited = has_safety_limit(self._settings) and not self._request.allow_large_run
        wanting = [listener for listener in self._progress.listeners if listener.wants_due_count]
        if not (self._request.dry_run or is_limited or wanting):
            return True
        due = count_due(self._check_runs, limit=self._request.limit)
        if self._request.dry_run:
            for name, count in due.items():
                self._progress.checks[name].succeeded = count
        for listener in wanting:
            listener.due_counted(sum(due.values()))
        if is_limited:
            goodbyes = sum(due.get(check.name, 0) for check in CHECKS if check.sends_goodbye)
            retries = RetryPolicy.of(self._settings, stop=self._stop)
            self._too_large = reason_to_stop(goodbyes=goodbyes, settings=self._settings, retries=retries)
        return True

    def _still_due(self, outcome: Outcome) -> int | None:
        """Due users beside those whom the run counts. None if the database is not there to tell."""
        if outcome.failure and not self._too_large:
            return None
        try:
            due = in_transaction(self._count_due_now, lock_timeout=self._settings.lock_timeout)
        except DatabaseError:
            return None
        total = self._progress.total
        return max(due - (total.processed if self._request.dry_run else total.failed), 0)

    def _count_due_now(self) -> int:
        return sum(check_run.due().count() for check_run in self._check_runs)


def _heartbeat(request: RunRequest, settings: EngagementSettings) -> list[RunListener]:
    if not (request.heartbeat and settings.heartbeat_url):
        return []
    # Here, so that a run without a heartbeat does not load an HTTP client.
    from engagement.services.job.heartbeat import Heartbeat

    return [Heartbeat(settings.heartbeat_url, job_id=request.job_id)]


def _log_started(request: RunRequest) -> None:
    log.info(
        "engagement_job_started",
        now=request.now.isoformat(),
        checks=[check.name for check in request.checks_in_order],
        limit=request.limit,
        workers=request.workers,
        dry_run=request.dry_run,
    )
    if gap := gap_to_clock(request.now, clock=timezone.now()):
        log.warning("engagement_now_off_clock", ahead_seconds=round(gap.total_seconds()))
