"""Whether sending works: what a monitor asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from engagement.schedule import iso_text
from engagement.selectors import deliveries
from engagement.services.delivery.channels import current_pause
from engagement.services.delivery.settings import delivery_settings
from engagement.services.message_queue import mark_expired_claims

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.selectors.deliveries import SentCounts
    from engagement.services.delivery.channels import Paused


DEFAULT_MAX_AGE: Final = timedelta(minutes=30)
"""How long the oldest message may have been due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingWatch:
    """What the queue says about the sender at `now`."""

    now: datetime
    max_age: timedelta
    counts: SentCounts
    stale: int
    """Claims that had expired until this look, which made their messages unknown."""
    paused: Paused | None

    @property
    def oldest_age(self) -> timedelta | None:
        """How long the oldest due message has waited; one that the sender holds back is not due."""
        oldest = self.counts.oldest_due_at
        return self.now - oldest if oldest else None

    @property
    def is_late(self) -> bool:
        return self.oldest_age is not None and self.oldest_age > self.max_age

    @property
    def is_good(self) -> bool:
        counts = self.counts
        return not (self.is_late or self.paused or counts.unknown or self.stale or counts.not_delivered)

    def as_json(self) -> dict[str, Any]:
        counts, paused = self.counts, self.paused
        return {
            "good": self.is_good,
            "oldest_due_at": iso_text(counts.oldest_due_at),
            "max_age_seconds": int(self.max_age.total_seconds()),
            "last_sent_at": iso_text(counts.last_sent_at),
            "unknown": counts.unknown,
            "stale": self.stale,
            "not_delivered": counts.not_delivered,
            "paused_until": iso_text(paused.until) if paused else None,
            "pause_reason": paused.reason if paused else None,
        }


def watch_sending(*, backend: str, max_age: timedelta) -> SendingWatch:
    """Ask whether due messages leave in time, after making messages unknown whose sender died.

    Transaction: one for those messages. The time is the database's.
    """
    now = deliveries.database_now()
    stale = mark_expired_claims(now=now)
    return SendingWatch(
        now=now,
        max_age=max_age,
        counts=deliveries.sent_counts(delivery_settings().types, now=now),
        stale=stale,
        paused=current_pause(backend, now=now),
    )
