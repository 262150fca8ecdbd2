"""Attempts: their ids are clocks, so that each says when its message was claimed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from engagement.models.choices import LATEST
from engagement.selectors.audit_log import TIME_ORDERED
from engagement.states import MINUTE

if TYPE_CHECKING:
    from engagement.models import EngagementMessage

CLOCK_SKEW: Final = MINUTE
"""How far clocks may be apart."""
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
_LATEST: Final = int(LATEST.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a message. Its id carries the time of its claim."""

    id: UUID
    claimed_at: datetime

    @classmethod
    def at(cls, instant: datetime) -> Attempt:
        """A new attempt, with the time in whole milliseconds, as a version 7 UUID holds it."""
        instant = instant.replace(microsecond=instant.microsecond // 1000 * 1000)
        nanoseconds = (instant - _EPOCH) // timedelta(milliseconds=1) * 1_000_000
        return cls(UUID(bytes=uuid7(nanoseconds=nanoseconds).bytes), instant)


def attempt_time(attempt_id: UUID | None) -> datetime | None:
    """When the attempt with this id was claimed; None for an id that carries no time."""
    if attempt_id is None or attempt_id.version != TIME_ORDERED:
        return None
    milliseconds = attempt_id.int >> 80
    return _EPOCH + timedelta(milliseconds=milliseconds) if milliseconds < _LATEST else None


def is_plausible(attempt_id: UUID, message: EngagementMessage, *, now: datetime) -> bool:
    """Whether a stranger's attempt may be one of this message: its time is between its queueing and now."""
    attempted_at = attempt_time(attempt_id)
    earliest = min(message.created_at, message.scheduled_for) - CLOCK_SKEW
    return attempted_at is not None and earliest <= attempted_at <= now + CLOCK_SKEW
