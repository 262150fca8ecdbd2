"""What the undoing of a run did. Every transition of the run is counted once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from engagement.services.job.result import MAX_ERRORS, UserFailure

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from engagement.models import RunStatus


class NotUndoneReason(TextChoices):
    """Why a transition was not undone, with the words for it."""

    ALREADY_UNDONE = "already_undone", _("already undone")
    MOVED_ON = "moved_on", _("changed since the run")
    """Something has happened to the user since."""
    GOODBYE_SENT = "goodbye_sent", _("goodbye already sent")
    """It was sent: after an undo the user would get a second one."""
    GOODBYE_FAILED = "goodbye_failed", _("sending the goodbye was tried and failed")
    """A sender has tried, and may have reached the user."""
    GOODBYE_IN_HAND = "goodbye_in_hand", _("the goodbye is being sent")
    """A sender is sending it."""
    GOODBYE_UNKNOWN = "goodbye_unknown", _("the goodbye may have been sent")
    """Nobody knows whether it was sent."""
    IN_USE = "in_use", _("locked by another program; try again")
    """Another program has the user or the message locked. The next attempt may find them free."""
    DELETED = "deleted", _("deleted since the run")
    """The user has no state row any more."""


@dataclass(slots=True)
class UndoCounts:
    """What an undo has done so far."""

    undone: int = 0
    messages_cancelled: int = 0
    not_undone: Counter[NotUndoneReason] = field(default_factory=Counter)
    failed: int = 0
    errors: list[UserFailure] = field(default_factory=list)
    """The first MAX_ERRORS."""

    def add_failure(self, failure: UserFailure) -> None:
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(failure)

    def as_json(self) -> dict[str, object]:
        return {
            "undone": self.undone,
            "messages_cancelled": self.messages_cancelled,
            "failed": self.failed,
            "left_alone": self.not_undone.total(),
            "left_alone_by_reason": {
                reason.value: self.not_undone.get(reason, 0) for reason in NotUndoneReason
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoResult:
    """What an undo did."""

    job_id: UUID
    now: datetime
    dry_run: bool
    status: RunStatus
    duration_ms: int
    counts: UndoCounts
    failure: str | None
    """Why the undo could not go on, if `status` is failed."""

    def as_json(self) -> dict[str, object]:
        """The result for programs."""
        return {
            "job_id": str(self.job_id),
            "status": self.status.value,
            "dry_run": self.dry_run,
            "now": self.now.isoformat(),
            **self.counts.as_json(),
            "duration_ms": self.duration_ms,
            "errors": [failure.as_json() for failure in self.counts.errors],
        }
