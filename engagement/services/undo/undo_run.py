"""Undoes a run: users who are still as the run left them go back to where they were."""

from __future__ import annotations

import time
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.selectors import audit_log, run_transitions
from engagement.services.job.result import UserFailure, log_completed, log_user_failed, outcome_of
from engagement.services.resilience.bisect import bisect_batch
from engagement.services.resilience.errors import BatchError, describe
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
from engagement.services.resilience.workers import choose_workers, run_workers, tell_at_once
from engagement.services.state_machine import was_committed
from engagement.services.undo.undo_batch import undo_batch
from engagement.services.undo.undo_result import NotUndoneReason, UndoCounts, UndoResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.conf import EngagementSettings
    from engagement.services.resilience.workers import Tell
    from engagement.services.undo.undo_batch import UndoneBatch, UndoRequest

_IDS_AT_ONCE: Final = 50_000
"""The ids of so many transitions are kept in memory."""

log = structlog.get_logger("engagement")


class UnknownRun(Exception):
    """The audit log has no transition of the run."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"The audit log has no transition of a run {job_id}: either the run moved no users, or there was"
            " no such run. The job_id is in the report and the log of a run."
        )
        self.job_id = job_id


def undo_run(*, request: UndoRequest, stop: StopRequest | None = None) -> UndoResult:
    """Move users who are exactly as a run left them back to where they were before it.

    Their goodbyes from that run, if they are unsent, are cancelled, and the idempotency keys are free
    again: a user who is due once more on the same day gets a goodbye that can be sent. Other users
    are counted by the reason why their transition was not undone.
    Transaction: opens one per batch; must not be called inside another. Several workers share a large
    undo, each in a thread and on a connection of its own.
    Repeatable, also at the same time, beside a run and after a crash. Stop a run before undoing it:
    while it runs, it goes on moving users.
    Raises UnknownRun, and ImproperlyConfigured for impossible or misspelt settings. Anything else that
    stops the undo ends it as failed, with the reason in `failure`; committed batches stay.
    """
    started = time.monotonic()
    refuse_misspelt_names()
    stop = stop or StopRequest()
    undo = _Undo(request, engagement_settings(), stop=stop)
    with structlog.contextvars.bound_contextvars(undone_job_id=str(request.job_id)):
        log.info("engagement_undo_started", dry_run=request.dry_run)
        outcome = outcome_of(undo.carry_out, stop=stop)
        if outcome.is_complete and not undo.found:
            raise UnknownRun(request.job_id)
        result = UndoResult(
            job_id=request.job_id,
            now=request.now,
            dry_run=request.dry_run,
            status=outcome.status(has_failures=undo.counts.failed > 0),
            duration_ms=round((time.monotonic() - started) * 1000),
            counts=undo.counts,
            failure=outcome.failure,
        )
        log_completed(
            "engagement_undo_completed",
            status=result.status.value,
            failure=result.failure,
            **result.counts.as_json(),
            dry_run=result.dry_run,
            duration_ms=result.duration_ms,
        )
    return result


class _Undo:
    """One execution of an undo."""

    def __init__(self, request: UndoRequest, settings: EngagementSettings, *, stop: StopRequest) -> None:
        self._request = request
        self._settings = settings
        self._retries = RetryPolicy.of(settings, stop=stop)
        self.counts = UndoCounts()
        self._after: str | None = None
        self._ids: Sequence[str] = ()
        self._turn = Lock()

    @property
    def found(self) -> bool:
        """Whether the audit log has any transition of the run."""
        return self._after is not None

    def carry_out(self) -> bool:
        """Go through the transitions of the run. Returns False if a stop request came first."""
        workers = choose_workers(
            self._settings.workers, batch_size=self._settings.batch_size, has_more_than=self._has_more_than
        )
        if workers == 1:
            return self._work(tell_at_once)
        return all(run_workers([self._work] * workers, stop=self._retries.stop))

    def _has_more_than(self, transitions: int) -> bool:
        self._read_ids()
        return len(self._ids) > transitions

    def _work(self, tell: Tell) -> bool:
        while not self._retries.stop.is_set():
            ids = self._next_page()
            if not ids:
                return True
            self._undo_page(ids, tell)
        return False

    def _next_page(self) -> Sequence[str]:
        """The ids of the next transitions of the run, for one worker alone."""
        size = self._settings.batch_size
        with self._turn:
            if not self._ids:
                self._read_ids()
            page, self._ids = self._ids[:size], self._ids[size:]
        return page

    def _read_ids(self) -> None:
        ids_after = partial(run_transitions.transition_ids_after, self._request.job_id, after=self._after)
        self._ids = self._retries.read(partial(ids_after, size=_IDS_AT_ONCE))
        if self._ids:
            self._after = self._ids[-1]

    def _undo_page(self, ids: Sequence[str], tell: Tell) -> None:
        try:
            self._undo(tell, ids, self._retries)
        except BatchError as error:
            bisect_batch(
                ids,
                error,
                attempt=partial(self._undo, tell),
                on_failure=partial(self._record_failure, tell),
                retries=self._retries,
            )

    def _undo(self, tell: Tell, ids: Sequence[str], retries: RetryPolicy) -> None:
        attempt = partial(undo_batch, ids, request=self._request, lock_timeout=self._settings.lock_timeout)
        tell(partial(self._count, retries.commit(attempt, was_committed=self._was_committed)))

    def _count(self, batch: UndoneBatch) -> None:
        self.counts.undone += len(batch.undone)
        self.counts.messages_cancelled += batch.messages_cancelled
        self.counts.not_undone += batch.not_undone

    def _was_committed(self, batch: UndoneBatch) -> bool:
        user_ids = list(map(UUID, batch.undone))
        return was_committed(
            transition_id=batch.written_id, user_ids=user_ids, lock_timeout=self._settings.lock_timeout
        )

    def _record_failure(self, tell: Tell, transition_id: str, error: BaseException) -> None:
        find = partial(audit_log.transition_with_id, UUID(transition_id))
        transition = self._retries.read(find)
        if transition is None:
            tell(partial(self.counts.not_undone.update, [NotUndoneReason.DELETED]))
            return
        failure = UserFailure(transition.user_id, transition.trigger, describe(error))
        tell(partial(self.counts.add_failure, failure))
        log_user_failed(failure, error)
