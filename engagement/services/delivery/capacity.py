"""What can be sent at the pace: whether messages are late, and whether all goodbyes leave in time."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.conf import engagement_settings
from engagement.models import MessageType
from engagement.selectors import deliveries, goodbyes
from engagement.sending_hours import messages_that_fit
from engagement.services.delivery.settings import delivery_settings
from engagement.states import DAY

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

    Of several ends of waits it is about the one by which most are too many. The hours are those of users
    without a time zone. None also if this sender leaves goodbyes to another.
    Reads alone. Raises a DatabaseError as Django does.
    """
    delivery = delivery_settings()
    if MessageType.GOODBYE not in delivery.types:
        return None
    capacity = _Capacity(delivery, interval_of(backend, delivery), now=now)
    longest = engagement_settings().policy.goodbye_wait
    queued, worst = 0, _Shortage(0, now, 0, 0)
    for end, users in goodbyes.goodbyes_by_end_of_wait():
        queued += users
        fit = capacity.within(min(end - now, longest))
        if fit is not None:
            worst = max(worst, _Shortage(queued - fit, end, queued, fit))
    if not worst.missing:
        return None
    of_them = ""
    if worst.queued < queued:
        of_them = f" of the {worst.queued:,} whose wait ends by {worst.end.astimezone(UTC):%d %B %H:%M} UTC"
    return (
        f"{queued:,} goodbyes are queued, but{of_them} only about {worst.fit:,} can be sent before their wait"
        " ends; the others will be cancelled. Raise the rate or the cap, or lower"
        " ENGAGEMENT_MAX_GOODBYES_PER_RUN."
    )


class _Shortage(NamedTuple):
    """How many of the goodbyes that must leave by the end of a wait cannot."""

    missing: int
    end: datetime
    queued: int
    fit: int


class _Capacity:
    """What the pace, the hours and the cap let through from `now` on."""

    def __init__(self, delivery: DeliverySettings, interval: timedelta, *, now: datetime) -> None:
        self._delivery = delivery
        self._interval = interval
        self._now = now
        self._claims = deliveries.last_claims_of_people(since=now - DAY) if delivery.daily_cap else []

    def within(self, period: timedelta) -> int | None:
        """About how many messages; None if nothing limits them."""
        open_time, hours = period, self._delivery.hours
        if hours:
            open_time = hours.open_within(period, after=self._now, zone=self._delivery.time_zone)
        return messages_that_fit(
            open_time=open_time,
            seconds_per_message=self._interval.total_seconds(),
            places=self._places(period) if self._delivery.daily_cap else None,
        )

    def _places(self, period: timedelta) -> int:
        """How many people the cap, which is for any 24 hours, lets be sent something."""
        days, rest = divmod(max(period, timedelta()), DAY)
        places = days * self._delivery.daily_cap
        if not rest:
            return places
        # In the rest, which comes first, the claims count that are not yet 24 hours old at its end.
        used = len(self._claims) - bisect_left(self._claims, self._now + rest - DAY)
        return places + max(self._delivery.daily_cap - used, 0)
