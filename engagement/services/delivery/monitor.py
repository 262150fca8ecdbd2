"""Whether sending works: what a monitor asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from engagement.privacy import redact
from engagement.schedule import iso_text
from engagement.selectors import deliveries
from engagement.services.delivery.capacity import late_since, queue_hint
from engagement.services.delivery.settings import delivery_settings
from engagement.services.message_queue import mark_expired_claims

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engagement.message_backends.base import MessageBackend
    from engagement.models import SendingChannel
    from engagement.selectors.deliveries import SentCounts


DEFAULT_MAX_AGE: Final = timedelta(minutes=30)
"""How long the oldest message may have been due."""
LONG_WAIT: Final = timedelta(minutes=5)
"""A shorter wait that a provider asks for is part of its ordinary pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingWatch:
    """What the queue says about the sender at `now`."""

    now: datetime
    max_age: timedelta
    counts: SentCounts
    late_since: datetime | None
    """Since when the oldest late message waits. One that waits for its turn or for a pause is not late."""
    hint: str | None
    """A sentence if more goodbyes are queued than can be sent in time."""
    stale: int
    """Claims that had expired until this look, which made their messages unknown."""
    pauses: Sequence[SendingChannel]
    waits: Sequence[SendingChannel]
    """The channels whose provider has asked for a long wait."""

    @property
    def is_good(self) -> bool:
        counts = self.counts
        problems = (self.late_since, self.hint, self.stale, self.pauses, self.waits)
        return not any((*problems, counts.unknown, counts.unclaimable, counts.not_delivered))

    def as_json(self) -> dict[str, Any]:
        counts, paused = self.counts, next(iter(self.pauses), None)
        return {
            "good": self.is_good,
            "late_since": iso_text(self.late_since),
            "oldest_due_at": iso_text(counts.oldest_due_at),
            "max_age_seconds": int(self.max_age.total_seconds()),
            "last_sent_at": iso_text(counts.last_sent_at),
            "unknown": counts.unknown,
            "stale": self.stale,
            "unclaimable": counts.unclaimable,
            "not_delivered": counts.not_delivered,
            "hint": self.hint,
            "paused_until": iso_text(paused.paused_until) if paused else None,
            "pause_reason": _shown(paused.pause_reason) if paused else None,
            "pauses": [_pause_json(channel) for channel in self.pauses],
            "waits": [
                {"backend": channel.backend, "until": iso_text(channel.slowed_until)}
                for channel in self.waits
            ],
        }


def _shown(reason: str | None) -> str | None:
    return reason and redact(reason)


def _pause_json(channel: SendingChannel) -> dict[str, Any]:
    return {
        "backend": channel.backend,
        "scope": channel.scope,
        "until": iso_text(channel.paused_until),
        "reason": _shown(channel.pause_reason),
    }


def watch_sending(
    *, backend: MessageBackend | None, max_age: timedelta, only: str | None = None
) -> SendingWatch:
    """Ask whether due messages leave in time, after making messages unknown whose sender died.

    `backend` has the pace; None if only clients of the API send. The pauses are those of all backends, or
    of `only` this one.
    Transaction: one for those messages. The time is the database's.
    """
    now = deliveries.database_now()
    stale = mark_expired_claims(now=now)
    pauses, waits = deliveries.pauses(now=now), deliveries.long_waits(until=now + LONG_WAIT)
    is_paused = backend is not None and deliveries.is_whole_paused(backend.name, pauses)
    return SendingWatch(
        now=now,
        max_age=max_age,
        counts=deliveries.sent_counts(delivery_settings().types, now=now),
        late_since=None if is_paused else late_since(backend=backend, max_age=max_age, now=now),
        hint=queue_hint(backend, now=now),
        stale=stale,
        pauses=[channel for channel in pauses if only in {None, channel.backend}],
        waits=[channel for channel in waits if only in {None, channel.backend}],
    )
