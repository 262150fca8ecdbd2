"""The daily job: three checks, in batches, each batch all or nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.services.job import safety_limit as brake
from engagement.services.job.heartbeat import Heartbeat
from engagement.services.job.ledger import RunLedger
from engagement.services.job.mover import Ending, Mover, RunRequest, ending_of
from engagement.services.job.parallel import move_with_workers
from engagement.services.job.progress import Scoreboard
from engagement.services.job.result import RunResult, log_completed
from engagement.services.resilience.stop import StopRequest
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engagement.conf import EngagementSettings
    from engagement.services.job.progress import Progress

__all__ = ["RunRequest", "run_daily_job"]

log = structlog.get_logger("engagement")


def run_daily_job(
    *, request: RunRequest, stop: StopRequest | None = None, progress: Progress | None = None
) -> RunResult:
    """Ask each check who is due, and move them (design, section 4).

    Transaction: opens one per batch and per write to the ledger, and must not be called inside another.
    With several workers it forks, so the calling process must have no other threads.
    Repeating: harmless, also at the same time and after a crash; whoever was moved is no longer due.
    Raises ImproperlyConfigured for impossible or misspelt settings. Otherwise a run that cannot go on ends as
    failed, with the reason in `failure`; what was committed stays.
    """
    started = time.monotonic()
    refuse_misspelt_names()
    run = _Run(request, engagement_settings(), stop=stop or StopRequest(), progress=progress)
    with structlog.contextvars.bound_contextvars(job_id=str(request.job_id)):
        _log_start(request)
        run.announce()
        ending = run.carry_out()
        result = run.result(ending, duration_ms=round((time.monotonic() - started) * 1000))
        log_completed("engagement_job_completed", result)
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
        progress: Progress | None,
    ) -> None:
        self._request = request
        self._settings = settings
        self._stop = stop
        self._progress = progress
        self._ledger = self._heartbeat = None
        if request.is_for_real:
            self._ledger = RunLedger(request, settings)
            self._heartbeat = Heartbeat(settings.heartbeat_url, job_id=request.job_id)
        self._scoreboard = Scoreboard(request.checks_in_order, progress=progress, keeper=self._ledger)
        self._mover = Mover(request, settings, stop=stop, reporter=self._scoreboard)
        self._too_large: str | None = None

    def announce(self) -> None:
        """Tell the ledger, and whoever watches, that the run has begun."""
        if self._ledger:
            self._ledger.started(self._scoreboard)
        if self._heartbeat:
            self._heartbeat.started()

    def carry_out(self) -> Ending:
        counting = ending_of(self._count, stop=self._stop)
        if self._request.dry_run or not counting.is_complete:
            return counting
        if self._too_large:
            return Ending(is_complete=False, failure=self._too_large)
        if self._request.workers > 1:
            return move_with_workers(
                self._request, self._settings, stop=self._stop, scoreboard=self._scoreboard
            )
        return ending_of(self._mover.move, stop=self._stop)

    def result(self, ending: Ending, *, duration_ms: int) -> RunResult:
        return RunResult(
            job_id=self._request.job_id,
            now=self._request.now,
            dry_run=self._request.dry_run,
            status=ending.status(has_failures=self._scoreboard.has_failures),
            duration_ms=duration_ms,
            checks=self._scoreboard.tallies,
            errors=tuple(self._scoreboard.failures),
            failure=ending.failure,
            too_large=self._too_large,
        )

    def conclude(self, result: RunResult) -> None:
        """Tell the ledger, and whoever watches, how the run ended."""
        if self._ledger:
            self._ledger.finished(self._scoreboard, status=result.status, failure=result.failure)
        if self._heartbeat:
            self._heartbeat.ended(result)

    def _count(self) -> bool:
        """Count what is not moved; and who is due, where somebody wants to know before anyone moves."""
        for name, skipped in self._mover.count_skipped().items():
            self._scoreboard.tallies[name].skipped = skipped
        has_brake = brake.is_on(self._settings) and not (
            self._request.allow_large_run or self._request.is_rehearsal
        )
        if self._request.dry_run or self._progress or has_brake:
            self._use(self._mover.count_due(), has_brake=has_brake)
        return True

    def _use(self, due: Mapping[str, int], *, has_brake: bool) -> None:
        """Show who is due, put it into the answer, ask the brake about it."""
        if self._request.dry_run:
            for name, count in due.items():
                self._scoreboard.tallies[name].succeeded = count
        elif self._progress:
            self._progress.started(due=sum(due.values()))
        if has_brake:
            goodbyes = sum(due.get(check.name, 0) for check in CHECKS if check.sends_goodbye)
            self._too_large = brake.reason_to_stop(
                goodbyes=goodbyes, settings=self._settings, ask=self._mover.ask
            )


def _log_start(request: RunRequest) -> None:
    log.info(
        "engagement_job_started",
        now=request.now.isoformat(),
        checks=[check.name for check in request.checks_in_order],
        limit=request.limit,
        workers=request.workers,
        dry_run=request.dry_run,
    )
