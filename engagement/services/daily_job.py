"""The daily job: three checks, in batches, each batch all or nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from engagement.conf import EngagementSettings, engagement_settings
from engagement.services.batch import BatchContext
from engagement.services.check_run import CheckRun
from engagement.services.faults import Fault, describe, fault_of
from engagement.services.job_result import MAX_ERRORS, JobResult, JobStatus, UserFailure
from engagement.services.patience import Patience, StopRequest, cause_of
from engagement.states import CHECKS, Check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

log = structlog.get_logger("engagement")


class Progress(Protocol):
    """Somebody who watches a run."""

    def check_started(self, check: Check, *, due: int) -> None: ...

    def users_done(self, count: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What is asked of a run."""

    job_id: UUID
    now: datetime
    checks: Sequence[Check] = CHECKS
    limit: int | None = None
    """How many users may move in the whole run."""
    batch_size: int | None = None
    """Users per transaction; None for the setting."""
    dry_run: bool = False


def run_daily_job(
    *, request: JobRequest, stop: StopRequest | None = None, progress: Progress | None = None
) -> JobResult:
    """Ask each check who is due, and move them (design, section 4).

    Transaction: opens one per batch, and must not be called inside another.
    Repeating: harmless, also at the same time and after a crash; whoever was moved is no longer due.
    Raises ImproperlyConfigured for impossible settings. Otherwise a run that cannot go on ends as
    failed, with the reason in `failure`; what was committed stays.
    """
    started = time.monotonic()
    run = _Run(request, engagement_settings(), stop=stop or StopRequest(), progress=progress)
    with structlog.contextvars.bound_contextvars(job_id=str(request.job_id)):
        _log_start(request)
        failure = run.through()
        result = run.result(failure, duration_ms=round((time.monotonic() - started) * 1000))
        _log_end(result)
    return result


class _Run:
    """One execution of the job."""

    def __init__(
        self,
        request: JobRequest,
        settings: EngagementSettings,
        *,
        stop: StopRequest,
        progress: Progress | None,
    ) -> None:
        self._request = request
        self._batch_size = request.batch_size or settings.batch_size
        self._stop = stop
        self._progress = progress
        self._failures: list[UserFailure] = []
        self._is_finished = False
        context = BatchContext(
            job_id=request.job_id,
            now=request.now,
            policy=settings.policy,
            lock_timeout=settings.lock_timeout,
        )
        patience = Patience(stop, attempts=settings.batch_attempts, reconnect_limit=settings.reconnect_limit)
        self._check_runs = [
            CheckRun(
                check=check,
                context=context,
                patience=patience,
                on_failure=self._remember,
                on_users_done=self._report,
            )
            for check in CHECKS
            if check in request.checks
        ]

    def through(self) -> str | None:
        """Go through the checks; returns why the run could not go on, if it could not."""
        try:
            self._is_finished = all(map(self._carry_out, self._check_runs))
        except Exception as error:  # noqa: BLE001  whatever it is, the operator gets a result
            return self._failure_of(error)
        return None

    def result(self, failure: str | None, *, duration_ms: int) -> JobResult:
        return JobResult(
            job_id=self._request.job_id,
            now=self._request.now,
            dry_run=self._request.dry_run,
            status=self._status(failure),
            duration_ms=duration_ms,
            checks={check_run.check.name: check_run.tally for check_run in self._check_runs},
            errors=tuple(self._failures[:MAX_ERRORS]),
            failure=failure,
        )

    def _carry_out(self, check_run: CheckRun) -> bool:
        """Whether the check came to its end."""
        if self._stop.is_set():
            return False
        check_run.count_skipped()
        if self._request.dry_run:
            check_run.pretend_to_move(at_most=self._may_still_move())
            return True
        if self._progress:
            self._progress.check_started(check_run.check, due=check_run.count_due())
        return check_run.move(batch_size=self._batch_size, at_most=self._may_still_move())

    def _may_still_move(self) -> int | None:
        if self._request.limit is None:
            return None
        return self._request.limit - sum(check_run.tally.succeeded for check_run in self._check_runs)

    def _remember(self, failure: UserFailure) -> None:
        if len(self._failures) < MAX_ERRORS:
            self._failures.append(failure)

    def _report(self, count: int) -> None:
        if self._progress:
            self._progress.users_done(count)

    def _failure_of(self, error: Exception) -> str | None:
        cause = cause_of(error)
        fault = fault_of(cause)
        if self._stop.is_set() and fault in {Fault.OUTAGE, Fault.CONCURRENCY}:
            return None
        if fault is Fault.USER:
            log.error("engagement_job_crashed", exc_info=cause)
        return _SENTENCES[fault].format(cause=describe(cause).rstrip("."))

    def _status(self, failure: str | None) -> JobStatus:
        if failure:
            return JobStatus.FAILED
        if not self._is_finished:
            return JobStatus.INTERRUPTED
        return JobStatus.PARTIAL if self._failures else JobStatus.SUCCEEDED


_SENTENCES = {
    Fault.CONCURRENCY: "Other programs kept the database busy for too long: {cause}. Run the command again.",
    Fault.OUTAGE: "The database is not available: {cause}. Run the command again when it is.",
    Fault.SETUP: "The database is not ready for this command: {cause}."
    " Run `manage.py migrate`, and look at the privileges of the database user.",
    Fault.USER: "The run met an error that nobody foresaw: {cause}. The log has its traceback.",
}


def _log_start(request: JobRequest) -> None:
    log.info(
        "engagement_job_started",
        now=request.now.isoformat(),
        checks=[check.name for check in CHECKS if check in request.checks],
        limit=request.limit,
        dry_run=request.dry_run,
    )


def _log_end(result: JobResult) -> None:
    write = {JobStatus.FAILED: log.error, JobStatus.PARTIAL: log.warning}.get(result.status, log.info)
    write(
        "engagement_job_completed",
        status=result.status.value,
        **result.counts(),
        duration_ms=result.duration_ms,
        **({"error": result.failure} if result.failure else {}),
    )
