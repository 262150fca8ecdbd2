"""What an undo did: every move of the run is counted once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engagement.services.job.result import MAX_ERRORS, UserFailure
from engagement.services.undo.undo_batch import NotUndoneReason, UndoneBatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.models import RunStatus


@dataclass(slots=True)
class UndoTally:
    """What an undo has done so far."""

    undone: int = 0
    messages_cancelled: int = 0
    not_undone: Counter[NotUndoneReason] = field(default_factory=Counter)
    failed: int = 0
    failures: list[UserFailure] = field(default_factory=list)

    def add(self, batch: UndoneBatch) -> None:
        self.undone += len(batch.user_ids)
        self.messages_cancelled += batch.messages_cancelled
        self.not_undone += batch.not_undone

    def add_failure(self, failure: UserFailure) -> None:
        self.failed += 1
        if len(self.failures) < MAX_ERRORS:
            self.failures.append(failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """What an undo did."""

    job_id: UUID
    now: datetime
    dry_run: bool
    status: RunStatus
    duration_ms: int
    undone: int
    messages_cancelled: int
    not_undone: Mapping[NotUndoneReason, int]
    failed: int
    errors: tuple[UserFailure, ...]
    """The first MAX_ERRORS."""
    failure: str | None
    """Why it could not go on, in one sentence, where `status` is failed."""

    def counts(self) -> dict[str, object]:
        """The counts as JSON has them."""
        return {
            "undone": self.undone,
            "messages_cancelled": self.messages_cancelled,
            "failed": self.failed,
            "left_alone": sum(self.not_undone.values()),
            "left_alone_by_reason": {
                reason.value: self.not_undone.get(reason, 0) for reason in NotUndoneReason
            },
        }

    def as_json(self) -> dict[str, object]:
        """The result for programs; every move of the run is in one of undone, failed and left_alone."""
        return {
            "job_id": str(self.job_id),
            "status": self.status.value,
            "dry_run": self.dry_run,
            "now": self.now.isoformat(),
            **self.counts(),
            "duration_ms": self.duration_ms,
            "errors": [failure.as_json() for failure in self.errors],
        }
