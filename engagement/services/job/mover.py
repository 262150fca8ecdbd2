"""Moves users, check after check: the work of a run, or of one of its workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from django.db import Error as DatabaseError

from engagement.models import RunStatus
from engagement.services.job.batch import BatchContext
from engagement.services.job.check_run import CheckRun
from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable
from engagement.services.resilience.retries import RetryPolicy, cause_of
from engagement.states import CHECKS, Check, Policy, require_aware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.selectors.due_users import Skipped
    from engagement.services.job.progress import Reporter
    from engagement.services.resilience.stop import StopRequest

T = TypeVar("T")

log = structlog.get_logger("engagement")

_SENTENCES: Final = {
    ErrorKind.CONFLICT: "Other programs kept the database busy for too long: {cause}. Run the command again.",
    ErrorKind.OUTAGE: "The database is not available: {cause}. Run the command again when it is.",
    ErrorKind.CONFIGURATION: "The database cannot be used like this: {cause}."
    " Check DATABASE_URL and the privileges of its user, and run `manage.py migrate`.",
    ErrorKind.DATA: "The run met an error that nobody foresaw: {cause}. The log has its traceback.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is asked of a run."""

    job_id: UUID
    now: datetime
    checks: Sequence[Check] = CHECKS
    limit: int | None = None
    """How many users may move in the whole run."""
    batch_size: int | None = None
    """Users per transaction; None for the setting."""
    workers: int = 1
    """Processes that share the work."""
    dry_run: bool = False
    allow_large_run: bool = False
    """Do not ask the brake."""
    policy: Policy | None = None
    """The periods of the rules; None for the settings'."""
    is_rehearsal: bool = False
    """On users of a scratch database: no ledger, no heartbeat, no brake."""

    def __post_init__(self) -> None:
        """Refuse what would be misread; raises ValueError."""
        require_aware(self.now)
        for name in ("limit", "batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}.")

    @property
    def is_for_real(self) -> bool:
        """Whether anybody shall hear of the run later."""
        return not (self.dry_run or self.is_rehearsal)

    @property
    def checks_in_order(self) -> list[Check]:
        return [check for check in CHECKS if check in self.checks]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the moving ended."""

    is_complete: bool
    """Whether everything asked for was done."""
    failure: str | None = None
    """Why it could not go on, in one sentence."""

    def status(self, *, has_failures: bool) -> RunStatus:
        """How the whole ended, where it did or did not fail to move single users."""
        if self.failure:
            return RunStatus.FAILED
        if not self.is_complete:
            return RunStatus.INTERRUPTED
        return RunStatus.PARTIAL if has_failures else RunStatus.SUCCEEDED


class Mover:
    """Goes through the checks of a request, in this process and on its own connection."""

    def __init__(
        self, request: RunRequest, settings: EngagementSettings, *, stop: StopRequest, reporter: Reporter
    ) -> None:
        self._batch_size = settings.batch_size if request.batch_size is None else request.batch_size
        self._limit = request.limit
        self._stop = stop
        self._reporter = reporter
        context = BatchContext(
            job_id=request.job_id,
            now=request.now,
            policy=request.policy or settings.policy,
            lock_timeout=settings.lock_timeout,
        )
        self._lock_timeout = settings.lock_timeout
        self._patience = RetryPolicy(
            stop, attempts=settings.batch_attempts, reconnect_limit=settings.reconnect_limit
        )
        self._check_runs = [
            CheckRun(check=check, context=context, patience=self._patience, reporter=reporter)
            for check in request.checks_in_order
        ]

    def ask(self, read: Callable[[], T]) -> T:
        """Ask the database something, with a run's patience.

        Transaction: opens one, which must be the outermost.
        """
        return self._patience.ask(read, lock_timeout=self._lock_timeout)

    def count_skipped(self) -> dict[str, Skipped]:
        """By check: who would get a goodbye but must not, or cannot.

        That somebody is in the way of counting must not keep the others from being moved.
        """
        skipped = {}
        for check_run in self._check_runs:
            try:
                skipped[check_run.check.name] = check_run.count_skipped()
            except DatabaseError as error:
                if error_kind(error) is not ErrorKind.CONFLICT:
                    raise
                log.warning("engagement_skipped_not_counted", error=describe(error))
        return skipped

    def count_due(self) -> dict[str, int]:
        """By check: how many users would be moved now, within the limit."""
        due, left = {}, self._limit
        for check_run in self._check_runs:
            count = check_run.count_due()
            due[check_run.check.name] = count if left is None else min(count, left)
            left = left if left is None else left - due[check_run.check.name]
        return due

    def move(self) -> bool:
        """Move whoever is due; False if a stop was asked for before the end.

        Raises BatchError, or an error of the database, when it cannot go on.
        """
        return all(map(self._move_users_of, self._check_runs))

    def _move_users_of(self, check_run: CheckRun) -> bool:
        if self._stop.is_set():
            return False
        moved = sum(other.moved for other in self._check_runs)
        at_most = None if self._limit is None else self._limit - moved
        if not check_run.move(batch_size=self._batch_size, at_most=at_most):
            return False
        self._reporter.check_ended(check_run.check)
        return True


def ending_of(work: Callable[[], bool], *, stop: StopRequest) -> Ending:
    """Do the work, and turn whatever stops it into an ending: the operator gets a result."""
    try:
        return Ending(is_complete=work())
    except Exception as error:  # noqa: BLE001
        return _ending_after(cause_of(error), stop=stop)


def _ending_after(error: BaseException, *, stop: StopRequest) -> Ending:
    fault = error_kind(error)
    if stop.is_set() and fault in {ErrorKind.OUTAGE, ErrorKind.CONFLICT}:
        return Ending(is_complete=False)
    if fault is ErrorKind.DATA:
        log.error("engagement_job_crashed", error=describe(error), exc_info=loggable(error))
    sentence = _SENTENCES[fault].format(cause=describe(error).rstrip("."))
    return Ending(is_complete=False, failure=sentence)
