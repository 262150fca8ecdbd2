"""What a run did: counts that add up, and the first errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from engagement.models import RunStatus
from engagement.selectors.due_users import Skipped
from engagement.services.resilience.errors import loggable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.services.undo.undo_result import UndoResult

log = structlog.get_logger("engagement")

MAX_ERRORS: Final = 100
"""How many errors a result carries; the log has them all."""


@dataclass(frozen=True, slots=True)
class UserFailure:
    """A user who could not be moved and was left as they were."""

    user_id: UUID
    check_name: str
    error: str

    def as_json(self) -> dict[str, str]:
        """The failure in the fixed keys of the design, section 5."""
        return {"user_id": str(self.user_id), "check_type": self.check_name, "error": self.error}


@dataclass(slots=True)
class CheckCounts:
    """What one check has done so far."""

    succeeded: int = 0
    failed: int = 0
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def processed(self) -> int:
        return self.succeeded + self.failed


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
    """Why the run could not go on, in one sentence, where `status` is failed."""
    too_large: str | None = None
    """Why the brake stopped the run before it moved anyone; of a dry run, why it would stop one."""

    @property
    def succeeded(self) -> int:
        return total_of(self.checks).succeeded

    @property
    def failed(self) -> int:
        return total_of(self.checks).failed

    @property
    def processed(self) -> int:
        return self.succeeded + self.failed

    @property
    def skipped(self) -> Skipped:
        return total_of(self.checks).skipped

    def counts(self) -> dict[str, object]:
        """The counts as JSON has them."""
        return {
            "processed": self.processed,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "skipped": self.skipped.total,
            "skipped_by_reason": self.skipped._asdict(),
        }

    def as_json(self) -> dict[str, object]:
        """The result in the fixed keys of the design, section 5."""
        return {
            "job_id": str(self.job_id),
            "status": self.status.value,
            "dry_run": self.dry_run,
            "now": self.now.isoformat(),
            **self.counts(),
            "duration_ms": self.duration_ms,
            "checks": checks_json(self.checks),
            "errors": errors_json(self.errors),
        }


def total_of(checks: Mapping[str, CheckCounts]) -> CheckCounts:
    """What all checks have done together."""
    tallies = checks.values()
    return CheckCounts(
        succeeded=sum(tally.succeeded for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        skipped=Skipped.sum_of(tally.skipped for tally in tallies),
    )


def checks_json(checks: Mapping[str, CheckCounts]) -> dict[str, dict[str, int]]:
    """The counts of each check as JSON has them."""
    return {name: _tally_json(tally) for name, tally in checks.items()}


def errors_json(failures: Iterable[UserFailure]) -> list[dict[str, str]]:
    """Who failed, as JSON has it."""
    return [failure.as_json() for failure in failures]


def _tally_json(tally: CheckCounts) -> dict[str, int]:
    return {
        "processed": tally.processed,
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "skipped": tally.skipped.total,
    }


def log_completed(event: str, result: RunResult | UndoResult) -> None:
    """Write into the log how a run, or the undoing of one, ended."""
    write = {RunStatus.FAILED: log.error, RunStatus.PARTIAL: log.warning}.get(result.status, log.info)
    error = {"error": result.failure} if result.failure else {}
    write(event, status=result.status.value, **result.counts(), duration_ms=result.duration_ms, **error)


def log_user_failed(failure: UserFailure, error: BaseException) -> None:
    """Write it into the log, with the traceback of a mistake in the code."""
    log.error(
        "engagement_user_failed",
        user_id=str(failure.user_id),
        check_type=failure.check_name,
        error=failure.error,
        exc_info=loggable(error),
    )
