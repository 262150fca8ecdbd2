"""The pace of sending: slots, pauses. In the database, so that all processes of a backend share them.

Whatever writes a channel locks its row in a transaction of its own, and nothing else.
Rules: docs/delivery.md.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog
from django.db import transaction

from engagement.message_backends.base import Scope
from engagement.models import EngagementMessage, MessageStatus, SendingChannel
from engagement.privacy import redact
from engagement.selectors.deliveries import WAITING_PAUSE, channels_of, database_now
from engagement.services.resilience.retries import retry_own_transaction
from engagement.states import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engagement.message_backends.base import Refused

WITHOUT_END: Final = datetime(2099, 12, 31, tzinfo=UTC)
"""The end of a pause that only `resume` ends."""
FAR: Final = timedelta(minutes=15)
"""The next slot is nearer than this, unless the pace is or was slow, or a clock was wrong."""
JITTER: Final = 0.2
"""Slots of a gateway are up to this share longer or shorter."""

PAUSES: Final[Mapping[Scope, timedelta]] = {
    Scope.CONFIGURATION: HOUR,
    Scope.ACCOUNT: 6 * HOUR,
    Scope.TEMPLATE: 6 * HOUR,
}
"""How long a refusal of this scope pauses the backend or the template, unless the answer says more."""
SLOWER: Final[Mapping[Scope, timedelta]] = {
    Scope.THROTTLE: MINUTE,
    Scope.CONNECTION: 0.5 * MINUTE,
    Scope.PLATFORM: MINUTE,
}
"""How long nothing is sent after a refusal of this scope, unless the answer says more."""
MAX_RETRY_AFTER: Final = DAY
MAX_SLOWER: Final = HOUR

log = structlog.get_logger("engagement")


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing may be sent before `until`."""

    until: datetime
    reason: str
    """What a person or a refusal gave as the reason, with numbers masked."""

    @classmethod
    def of(cls, until: datetime, reason: str | None) -> Paused:
        """The pause with this reason, as it is stored."""
        return cls(until, redact(reason or ""))


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `resume_sending` ended."""

    pauses: int
    waited_until: datetime | None
    """The end of the wait that a refusal had asked for, or of reserved slots, if there was one."""

    def __bool__(self) -> bool:
        return bool(self.pauses or self.waited_until)


def current_pause(backend: str, *, now: datetime) -> Paused | None:
    """The pause of the whole backend, or else of one of its templates, if there is one at `now`."""
    channels = channels_of(backend)
    if whole := pause_of(channels.get(""), now=now):
        return whole
    for scope, channel in sorted(channels.items()):
        if paused := pause_of(channel, now=now):
            return Paused(paused.until, f"{paused.reason} (template {scope})")
    return None


def paused_templates(channels: Mapping[str, SendingChannel], *, now: datetime) -> dict[str, SendingChannel]:
    """By scope: the templates that are paused at `now`."""
    return {scope: channel for scope, channel in channels.items() if scope and pause_of(channel, now=now)}


def next_slot(channels: Mapping[str, SendingChannel], *, now: datetime) -> datetime | Paused:
    """When the backend may be used, without reserving anything: for a pace without a limit."""
    channel = channels.get("")
    begins_at = channel.next_slot_at if channel else None
    return pause_of(channel, now=now) or max(begins_at or now, now)


@retry_own_transaction
def reserve_slot(*, backend: str, interval: timedelta, has_jitter: bool, now: datetime) -> datetime | Paused:
    """Reserve the next slot of the backend, `interval` after the one before, unless it is paused.

    Returns when the slot begins, or the pause.

    Transaction: opens one. Not repeatable: each call takes a slot.
    """
    with transaction.atomic():
        channel = _lock_channel(backend, "")
        if paused := pause_of(channel, now=now):
            return paused
        begins_at = max(channel.next_slot_at or now, now)
        factor = random.uniform(1 - JITTER, 1 + JITTER) if has_jitter else 1.0  # noqa: S311  no secret
        channel.next_slot_at = begins_at + interval * factor
        channel.updated_at = now
        channel.save(update_fields=["next_slot_at", "updated_at"])
    return begins_at


@retry_own_transaction
def release_slot(*, backend: str, begins_at: datetime, interval: timedelta) -> None:
    """Give back a slot that was reserved, if it is the last one.

    Otherwise another has been reserved since, or sending was resumed, which counts slots anew.
    Transaction: opens one. Repeatable.
    """
    with transaction.atomic():
        channel = _lock_channel(backend, "")
        latest = begins_at + interval * (1 + JITTER)
        if channel.next_slot_at and begins_at < channel.next_slot_at <= latest:
            channel.next_slot_at = max(begins_at, channel.slowed_until or begins_at)
            channel.save(update_fields=["next_slot_at"])


@retry_own_transaction
def slow_down(*, backend: str, until: datetime, now: datetime) -> None:
    """Reserve no slot before `until`. Transaction: opens one. Repeatable."""
    with transaction.atomic():
        channel = _lock_channel(backend, "")
        channel.next_slot_at = max(channel.next_slot_at or until, until)
        channel.slowed_until = max(channel.slowed_until or until, until)
        channel.updated_at = now
        channel.save(update_fields=["next_slot_at", "slowed_until", "updated_at"])


@retry_own_transaction
def pause_sending(*, backend: str, until: datetime, reason: str, now: datetime, scope: str = "") -> Paused:
    """Pause a backend, or one template of it, at least until then. The longer of two pauses counts.

    Returns the pause that counts.

    Transaction: opens one. Repeatable.
    """
    with transaction.atomic():
        channel = _lock_channel(backend, scope)
        if channel.paused_until is not None and channel.paused_until >= until:
            return Paused.of(channel.paused_until, channel.pause_reason)
        channel.paused_until, channel.pause_reason, channel.updated_at = until, reason, now
        channel.save(update_fields=["paused_until", "pause_reason", "updated_at"])
    log.warning(
        "engagement_sending_paused", backend=backend, scope=scope, reason=reason, until=until.isoformat()
    )
    return Paused.of(until, reason)


@retry_own_transaction
def hold_back(refusal: Refused, *, backend: str, template: str, since: datetime, now: datetime) -> None:
    """Pause or slow down what a refusal is about; nothing for one that is about the recipient.

    It counts from `since`, when the provider refused, and not if sending was resumed after that.
    Transaction: opens one, which locks the channel. Repeatable.
    """
    pause, slower = PAUSES.get(refusal.scope), SLOWER.get(refusal.scope)
    if not (wait := pause or slower):
        return
    longest = MAX_RETRY_AFTER if pause else MAX_SLOWER
    until = since + min(max(wait, refusal.retry_after or wait), longest)
    scope = template if refusal.scope is Scope.TEMPLATE else ""
    if until <= now:
        return
    with transaction.atomic():
        _lock_channel(backend, scope)
        if _was_resumed(backend=backend, after=since):
            return
        if pause:
            reason = f"{refusal.scope.value} error {refusal.code}"
            pause_sending(backend=backend, until=until, reason=reason, now=now, scope=scope)
        else:
            slow_down(backend=backend, until=until, now=now)


@retry_own_transaction
def resume_sending(*, backend: str, now: datetime) -> Resumed:
    """End all pauses of a backend and its waits, and make due what the pauses held back.

    `hold_back` then keeps what happened before from pausing it again; for that the database's clock counts.
    Transaction: opens one for the channels, then one for the messages. Repeatable.
    """
    with transaction.atomic():
        rows = SendingChannel.objects.filter(backend=backend).order_by("scope")
        channels = list(rows.select_for_update(no_key=True))
        pauses = sum(pause_of(channel, now=now) is not None for channel in channels)
        waits = [wait for channel in channels if (wait := wait_of(channel, now=now))]
        resumed_at = database_now()
        for channel in channels:
            _resume(channel, at=resumed_at, now=now)
    _release_held_messages()
    if pauses or waits:
        log.info("engagement_sending_resumed", backend=backend, pauses=pauses)
    return Resumed(pauses, max(waits, default=None))


def _resume(channel: SendingChannel, *, at: datetime, now: datetime) -> None:
    if wait_of(channel, now=now):
        channel.next_slot_at = None
    channel.paused_until = channel.pause_reason = channel.slowed_until = None
    channel.resumed_at, channel.updated_at = at, now
    channel.save(
        update_fields=[
            *("paused_until", "pause_reason", "next_slot_at", "slowed_until", "resumed_at", "updated_at")
        ]
    )


def _was_resumed(*, backend: str, after: datetime) -> bool:
    """Whether the backend was resumed after `after`, all its scopes with it."""
    return SendingChannel.objects.filter(backend=backend, resumed_at__gt=after).exists()


def _release_held_messages() -> None:
    """Make the pending messages due that a pause held back."""
    with transaction.atomic():
        held = EngagementMessage.objects.filter(
            outcome_reason=WAITING_PAUSE, status=MessageStatus.PENDING, next_attempt_at__isnull=False
        ).order_by("id")
        ids = list(held.select_for_update(no_key=True).values_list("id", flat=True))
        EngagementMessage.objects.filter(pk__any_of=ids).update(next_attempt_at=None, outcome_reason=None)


def _lock_channel(backend: str, scope: str) -> SendingChannel:
    """The channel, locked and made if there is none. Transaction: needs the caller's."""
    SendingChannel.objects.bulk_create([SendingChannel(backend=backend, scope=scope)], ignore_conflicts=True)
    return SendingChannel.objects.select_for_update(no_key=True).get(backend=backend, scope=scope)


def wait_of(channel: SendingChannel, *, now: datetime) -> datetime | None:
    """Until when nothing leaves, if that is later than `now`: a refusal asked for it, or slots are far."""
    slot = channel.next_slot_at if channel.next_slot_at and channel.next_slot_at > now + FAR else None
    until = max(filter(None, (channel.slowed_until, slot)), default=now)
    return until if until > now else None


def pause_of(channel: SendingChannel | None, *, now: datetime) -> Paused | None:
    """The channel's pause, if it is paused at `now`."""
    if channel is None or channel.paused_until is None or channel.paused_until <= now:
        return None
    return Paused.of(channel.paused_until, channel.pause_reason)
