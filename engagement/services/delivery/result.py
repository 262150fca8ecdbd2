"""What a sender did: counts, errors, the exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from engagement.schedule import iso_text
from engagement.services.job.result import SIGNAL_BASE

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

MAX_ERRORS: Final = 20
"""The errors that a result lists; the log has all."""
MAX_REFUSALS: Final = 5
"""The kinds of refusals that a result lists, the most frequent first."""


class SendStatus(StrEnum):
    """How a sender ended."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """Some messages failed, could not be claimed, or their outcome is unknown."""
    PAUSED = "paused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


EXIT_CODES: Final = {
    SendStatus.SUCCEEDED: 0,
    SendStatus.FAILED: 1,
    SendStatus.PARTIAL: 3,
    SendStatus.PAUSED: 5,
}


@dataclass(frozen=True, slots=True)
class SendError:
    """A message that failed or could not be claimed, or whose outcome is unknown."""

    message_id: UUID
    status: str
    reason: str
    """The code of the provider, or what happened instead of an answer."""

    def as_json(self) -> dict[str, str]:
        return {"message_id": str(self.message_id), "status": self.status, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class MessageEnding:
    """How a message ended in a sender's hands."""

    name: str
    """A count of SendCounts."""
    error: SendError | None = None
    refusal: str | None = None
    """The scope and the code of the refusal of a message that will be tried again."""


@dataclass(slots=True)
class SendCounts:
    """What a sender, or one of its workers, has done so far."""

    sent: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    waiting: int = 0
    """Held back, or refused and to be tried again."""
    errors: list[SendError] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    """By scope and code: how often a message was refused that will be tried again."""

    def add(self, ending: MessageEnding) -> None:
        setattr(self, ending.name, getattr(self, ending.name) + 1)
        if ending.error and len(self.errors) < MAX_ERRORS:
            self.errors.append(ending.error)
        if ending.refusal:
            self.refusals[ending.refusal] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """The result of one call of `send_messages`."""

    backend: str
    now: datetime
    dry_run: bool
    status: SendStatus
    due: int
    counts: SendCounts
    paused_until: datetime | None = None
    pause_reason: str | None = None
    failure: str | None = None
    """Why the sender stopped before its end, in one sentence."""
    hint: str | None = None
    """What the operator should know besides."""
    signal_number: int | None = None
    duration_ms: int

    @property
    def exit_code(self) -> int:
        if self.status is SendStatus.INTERRUPTED:
            return SIGNAL_BASE + (self.signal_number or 0)
        return EXIT_CODES[self.status]

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status.value,
            "backend": self.backend,
            "now": self.now.isoformat(),
            "dry_run": self.dry_run,
            "due": self.due,
            **self.numbers(),
            "refusals": dict(self.counts.refusals.most_common(MAX_REFUSALS)),
            "paused_until": iso_text(self.paused_until),
            "pause_reason": self.pause_reason,
            "failure": self.failure,
            "hint": self.hint,
            "duration_ms": self.duration_ms,
            "errors": [error.as_json() for error in self.counts.errors],
        }

    def numbers(self) -> dict[str, int]:
        """How many messages ended how."""
        names = ("sent", "failed", "unknown", "cancelled", "waiting")
        return {name: getattr(self.counts, name) for name in names}
