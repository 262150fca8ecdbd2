"""Takes a run back: whoever is still as it left them goes back to where they were."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.selectors import audit_log
from engagement.services.job.batch import was_committed
from engagement.services.job.mover import ending_of
from engagement.services.job.result import UserFailure, log_completed, log_user_failed
from engagement.services.resilience.errors import ErrorKind, describe, error_kind
from engagement.services.resilience.retries import RetryPolicy, cause_of
from engagement.services.resilience.stop import StopRequest
from engagement.services.undo.undo_batch import UndoBatchError, UndoContext, UndoneBatch, undo_batch
from engagement.services.undo.undo_result import UndoResult, UndoTally
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.services.job.mover import Ending
    from engagement.states import Transition

log = structlog.get_logger("engagement")


class UnknownRun(Exception):
    """The audit log has no move of the run."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"The audit log has no move of a run {job_id}: either it moved nobody, or there was no such run;"
            " look for the job_id in the report or the log of the run."
        )
        self.job_id = job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRequest:
    """What is asked of an undo."""

    job_id: UUID
    """Of the run to be taken back."""
    now: datetime
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be misread; raises ValueError."""
        require_aware(self.now)


def undo_run(*, request: UndoRequest, stop: StopRequest | None = None) -> UndoResult:
    """Put whoever is still exactly as a run left them back to where they were before it.

    Their goodbyes of that run which are still unsent are cancelled, and the idempotency keys of
    those are free again: whoever is due once more on the same day, and they are, unless whatever was
    wrong is put right first, gets a goodbye that can be sent, and never a second one.
    Who has moved on, or has been sent the goodbye, is left alone and counted.
    Transaction: opens one per batch, and must not be called inside another.
    Repeating: harmless, also at the same time, beside a run, and after a crash. A run that is still
    running goes on moving users: stop it first.
    Raises UnknownRun, and ImproperlyConfigured for impossible or misspelt settings. Otherwise an
    undo that cannot go on ends as failed, with the reason in `failure`; what was committed stays.
    """
    started = time.monotonic()
    refuse_misspelt_names()
    stop = stop or StopRequest()
    undoing = _Undoing(request, engagement_settings(), stop=stop)
    with structlog.contextvars.bound_contextvars(undone_job_id=str(request.job_id)):
        log.info("engagement_undo_started", dry_run=request.dry_run)
        ending = ending_of(undoing.undo, stop=stop)
        if ending.is_complete and not undoing.found:
            raise UnknownRun(request.job_id)
        result = undoing.result(ending, duration_ms=round((time.monotonic() - started) * 1000))
        log_completed("engagement_undo_completed", result)
    return result


class _Undoing:
    """One execution of an undo."""

    def __init__(self, request: UndoRequest, settings: EngagementSettings, *, stop: StopRequest) -> None:
        self._request = request
        self._settings = settings
        self._stop = stop
        self._patience = RetryPolicy(
            stop, attempts=settings.batch_attempts, reconnect_limit=settings.reconnect_limit
        )
        self._context = UndoContext(
            now=request.now, lock_timeout=settings.lock_timeout, dry_run=request.dry_run
        )
        self._tally = UndoTally()
        self.found = False
        """Whether the audit log has any move of the run."""

    def undo(self) -> bool:
        """Go through the moves of the run; False if a stop was asked for before the end."""
        after: UUID | None = None
        while not self._stop.is_set():
            moves = self._moves_after(after)
            if not moves:
                return True
            self.found = True
            self._undo_or_halve(moves)
            after = moves[-1].id
        return False

    def result(self, ending: Ending, *, duration_ms: int) -> UndoResult:
        return UndoResult(
            job_id=self._request.job_id,
            now=self._request.now,
            dry_run=self._request.dry_run,
            status=ending.status(has_failures=self._tally.failed > 0),
            duration_ms=duration_ms,
            undone=self._tally.undone,
            messages_cancelled=self._tally.messages_cancelled,
            not_undone=dict(self._tally.not_undone),
            failed=self._tally.failed,
            errors=tuple(self._tally.failures),
            failure=ending.failure,
        )

    def _moves_after(self, after: UUID | None) -> list[Transition]:
        size = self._settings.batch_size
        read = partial(audit_log.transitions_after, self._request.job_id, after=after, size=size)
        return self._patience.ask(read, lock_timeout=self._settings.lock_timeout)

    def _undo_or_halve(self, moves: Sequence[Transition]) -> None:
        """Take the moves back; of those that the database refuses, all but whoever is the cause."""
        try:
            self._tally.add(self._patience.retry_outages(partial(self._attempt, moves, [])))
        except UndoBatchError as error:
            if error_kind(cause_of(error)) is not ErrorKind.DATA:
                raise
            if len(moves) == 1:
                self._record_failure(moves[0], cause_of(error))
                return
            middle = len(moves) // 2
            self._undo_or_halve(moves[:middle])
            self._undo_or_halve(moves[middle:])

    def _attempt(self, moves: Sequence[Transition], in_doubt: list[UndoneBatch]) -> UndoneBatch:
        """Take them back, unless an attempt whose connection broke at its commit has done so."""
        if in_doubt and self._was_committed(in_doubt[-1]):
            return in_doubt[-1]
        try:
            return self._patience.retry_conflicts(partial(undo_batch, moves, context=self._context))
        except UndoBatchError as error:
            in_doubt[:] = [error.undone] if error.undone else []
            raise

    def _was_committed(self, batch: UndoneBatch) -> bool:
        ask = partial(
            was_committed,
            batch.audit_id,
            user_ids=batch.user_ids,
            lock_timeout=self._settings.lock_timeout,
        )
        return self._patience.retry_conflicts(ask)

    def _record_failure(self, move: Transition, error: BaseException) -> None:
        failure = UserFailure(move.user_id, move.trigger, describe(error))
        self._tally.add_failure(failure)
        log_user_failed(failure, error)
