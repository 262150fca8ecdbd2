"""What can be sent at the pace: whether messages are late, and whether all goodbyes leave in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.conf import engagement_settings
from engagement.models import MessageType
from engagement.selectors import deliveries
from engagement.sending_hours import messages_that_fit
from engagement.services.delivery.settings import delivery_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engagement.message_backends.base import MessageBackend
    from engagement.services.delivery.settings import DeliverySettings

LEASES_PER_SECOND: Final = 10.0
"""The rate of a client of the HTTP API, without the setting."""
FEWEST_COUNTED: Final = 10
"""The pace is measured over the time of at least so many messages."""
KEEPS_PACE: Final = 0.5
"""The share of the possible messages that must have been sent: some are refused, and calls take time."""


def interval_of(backend: MessageBackend | None, delivery: DeliverySettings) -> timedelta:
    """The time between two messages, by the settings or the backend's own. None: clients of the API send."""
    rate = delivery.rate_per_second
    if rate is None:
        rate = backend.rate_per_second if backend else LEASES_PER_SECOND
    return timedelta(seconds=1 / rate if rate else 0)


def late_since(*, backend: MessageBackend | None, max_age: timedelta, now: datetime) -> datetime | None:
    """When the oldest message came due that has waited for longer than `max_age` without need; else None.

    Messages wait for their turn as long as others leave at the pace. Replies go first and need not wait.
    """
    delivery = delivery_settings()
    replies = [kind for kind in delivery.types if kind == MessageType.REPLY]
    others = [kind for kind in delivery.types if kind != MessageType.REPLY]
    late_reply, late_other = (_overdue(kinds, max_age, now=now) for kinds in (replies, others))
    if late_other and _keeps_pace(interval_of(backend, delivery), max_age, delivery.types, now=now):
        return late_reply
    return min(filter(None, (late_reply, late_other)), default=None)


def _overdue(types: Sequence[MessageType], max_age: timedelta, *, now: datetime) -> datetime | None:
    due_at = deliveries.oldest_due_at(types, now=now)
    return due_at if due_at and now - due_at > max_age else None


def _keeps_pace(
    interval: timedelta, max_age: timedelta, types: Sequence[MessageType], *, now: datetime
) -> bool:
    """Whether about as many messages have left lately as the pace allows."""
    if not interval:
        return False
    period = max(max_age, FEWEST_COUNTED * interval)
    return deliveries.claimed_since(now - period, types=types) >= KEEPS_PACE * (period / interval)


def queue_hint(backend: MessageBackend | None, *, now: datetime) -> str | None:
    """A sentence if more goodbyes are queued than can be sent before their wait ends, else None.

    The wait is the longest of those goodbyes, and the hours are those of users without a time zone.
    Reads alone. Raises a DatabaseError as Django does.
    """
    delivery = delivery_settings()
    queued, last_end = deliveries.count_pending_goodbyes(), deliveries.last_end_of_waits()
    if not queued or last_end is None:
        return None
    within = min(last_end - now, engagement_settings().policy.goodbye_wait)
    fit = messages_that_fit(
        within=within,
        open_time=_open_time(delivery, within, now=now),
        seconds_per_message=interval_of(backend, delivery).total_seconds(),
        daily_cap=delivery.daily_cap,
    )
    if fit is None or queued <= fit:
        return None
    return (
        f"{queued:,} goodbyes are queued, but only about {fit:,} can be sent before their wait ends; the"
        " others will be cancelled. Raise the rate or the cap, or lower ENGAGEMENT_MAX_GOODBYES_PER_RUN."
    )


def _open_time(delivery: DeliverySettings, within: timedelta, *, now: datetime) -> timedelta:
    if delivery.hours is None:
        return within
    return delivery.hours.open_within(within, after=now, zone=delivery.time_zone)
