"""What a run did: counts that add up, and the first errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.core.exceptions import ImproperlyConfigured

from engagement.models import RunStatus
from engagement.selectors.due_users import Skipped
from engagement.services.resilience.errors import (
    ErrorKind,
    cause_of,
    describe,
    error_kind,
    loggable,
    sentence_about,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.services.resilience.stop import StopRequest

log = structlog.get_logger("engagement")

MAX_ERRORS: Final = 100
"""How many errors a result holds. The log has all of them."""

EXIT_CODES: Final = {RunStatus.SUCCEEDED: 0, RunStatus.FAILED: 1, RunStatus.PARTIAL: 3}
EXIT_CODE_SAFETY_LIMIT: Final = 4
SIGNAL_BASE: Final = 128
"""Added to a signal's number, as shells do: 130 for SIGINT, 143 for SIGTERM."""

_UNEXPECTED: Final = "The run met an unexpected error{cause}. The log has its traceback."


@dataclass(frozen=True, slots=True)
class UserFailure:
    """A user who could not be moved and is unchanged."""

    user_id: UUID
    check_name: str
    error: str

    def as_json(self) -> dict[str, str]:
        """The failure in the fixed keys of docs/reference.md."""
        return {"user_id": str(self.user_id), "check_type": self.check_name, "error": self.error}


class EveryUserFails(Exception):
    """The first users of a check all failed with the same error, and none was moved."""

    def __init__(self, users: int, error: BaseException) -> None:
        super().__init__(f"The first {users} users failed with the same error: {describe(error)}")


@dataclass(slots=True)
class CheckCounts:
    """What one check has done so far."""

    succeeded: int = 0
    failed: int = 0
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def processed(self) -> int:
        return self.succeeded + self.failed

    @classmethod
    def sum_of(cls, checks: Mapping[str, CheckCounts]) -> CheckCounts:
        """What all checks have done together."""
        counts = checks.values()
        return cls(
            succeeded=sum(each.succeeded for each in counts),
            failed=sum(each.failed for each in counts),
            skipped=Skipped.sum_of(each.skipped for each in counts),
        )

    def as_json(self) -> dict[str, int]:
        return {
            "processed": self.processed,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped.total,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work of a run ended."""

    is_complete: bool
    """Whether everything that was asked for is done."""
    failure: str | None = None
    """Why the run could not go on."""
    failure_summary: str | None = None
    """The same without the words of the database, which may name its host and role."""

    def status(self, *, has_failures: bool) -> RunStatus:
        """The status of the run, of which some users may have failed."""
        if self.failure:
            return RunStatus.FAILED
        if not self.is_complete:
            return RunStatus.INTERRUPTED
        return RunStatus.PARTIAL if has_failures else RunStatus.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one run did."""

    job_id: UUID
    now: datetime
    dry_run: bool
    status: RunStatus
    duration_ms: int
    checks: Mapping[str, CheckCounts]
    errors: tuple[UserFailure, ...]
    """The first MAX_ERRORS."""
    failure: str | None
    """Why the run could not go on, if `status` is failed."""
    failure_summary: str | None = None
    """The same without the words of the database, for services outside."""
    too_large: str | None = None
    """Why the safety limit stopped the run before it moved anyone, or would stop it if it is a dry run."""
    still_due: int | None = None
    """Due users whom this run left: beyond its limit, locked, or after an interruption. None if unknown."""
    signal_number: int | None = None
    """The signal that interrupted the run."""

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.too_large and not self.dry_run:
            return EXIT_CODE_SAFETY_LIMIT
        return exit_code(self.status, signal_number=self.signal_number)

    @property
    def total(self) -> CheckCounts:
        return CheckCounts.sum_of(self.checks)

    @property
    def succeeded(self) -> int:
        return self.total.succeeded

    @property
    def failed(self) -> int:
        return self.total.failed

    @property
    def processed(self) -> int:
        return self.total.processed

    @property
    def skipped(self) -> Skipped:
        return self.total.skipped

    def counts(self) -> dict[str, object]:
        """The counts as JSON has them."""
        total = self.total
        return {**total.as_json(), "skipped_by_reason": total.skipped._asdict()}

    def as_json(self) -> dict[str, object]:
        """The result in the fixed keys of docs/reference.md."""
        return {
            "job_id": str(self.job_id),
            "status": self.status.value,
            "dry_run": self.dry_run,
            "now": self.now.isoformat(),
            **self.counts(),
            "duration_ms": self.duration_ms,
            "still_due": self.still_due,
            "checks": {name: counts.as_json() for name, counts in self.checks.items()},
            "errors": [failure.as_json() for failure in self.errors],
        }


def exit_code(status: RunStatus, *, signal_number: int | None) -> int:
    """The exit code of a command whose work ended with this status."""
    if status is RunStatus.INTERRUPTED:
        return SIGNAL_BASE + (signal_number or 0)
    return EXIT_CODES[status]


def outcome_of(work: Callable[[], bool], *, stop: StopRequest) -> Outcome:
    """Call `work`, which returns whether it is complete, and turn whatever it raises into an outcome."""
    try:
        return Outcome(is_complete=work())
    except Exception as error:  # noqa: BLE001  whatever goes wrong, the operator gets a result
        return _outcome_after(error, stop=stop)


def _outcome_after(error: BaseException, *, stop: StopRequest) -> Outcome:
    kind, cause = error_kind(error), cause_of(error)
    if stop.is_set() and kind in {ErrorKind.OUTAGE, ErrorKind.CONFLICT}:
        return Outcome(is_complete=False)
    if isinstance(error, EveryUserFails):
        return Outcome(
            is_complete=False,
            failure=f"{str(error).rstrip('.')}. No user had been moved by then. Correct the cause and run it"
            " again.",
            failure_summary="The first users failed with the same error. The log has the error.",
        )
    if isinstance(error, ImproperlyConfigured):
        return Outcome(is_complete=False, failure=str(error), failure_summary="A setting is wrong.")
    if kind is ErrorKind.DATA:
        log.error("engagement_job_crashed", error=describe(cause), exc_info=loggable(cause))
        return Outcome(
            is_complete=False,
            failure=_UNEXPECTED.format(cause=f": {describe(cause).rstrip('.')}"),
            failure_summary=_UNEXPECTED.format(cause=""),
        )
    return Outcome(
        is_complete=False,
        failure=sentence_about(cause, is_repeatable=True),
        failure_summary=sentence_about(cause, with_cause=False, is_repeatable=True),
    )


def log_completed(event: str, *, status: str, failure: str | None, **details: Any) -> None:
    """Log how a run, the undoing of one, or a sender ended."""
    write = {"failed": log.error, "partial": log.warning}.get(status, log.info)
    error = {"error": failure} if failure else {}
    write(event, status=status, **details, **error)


def log_user_failed(failure: UserFailure, error: BaseException) -> None:
    """Log that a user could not be moved; with a traceback if the code is at fault."""
    log.error(
        "engagement_user_failed",
        user_id=str(failure.user_id),
        check_type=failure.check_name,
        error=failure.error,
        exc_info=loggable(error),
    )
