"""Leases: a client of the HTTP API claims messages and sends them itself.

A lease is a claim by the backend `api:<client>`, with the same recheck, hours, pace, cap and pauses. Its
message is `sending` until the client reports an outcome, or unknown when the lease has expired.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from django.db import transaction

from engagement.conf import engagement_settings
from engagement.models import EngagementMessage, MessageStatus, UserProfile
from engagement.selectors import deliveries
from engagement.services.delivery.attempts import Attempt, is_plausible
from engagement.services.delivery.capacity import interval_of
from engagement.services.delivery.channels import (
    Paused,
    next_slot,
    paused_templates,
    release_slot,
    reserve_slot,
)
from engagement.services.delivery.claim import (
    Claim,
    ClaimTerms,
    Eligible,
    Enough,
    claim_message,
    outgoing_message,
    template_scope,
)
from engagement.services.delivery.outcomes import AttemptOutcome, Ending, locked, record_outcome
from engagement.services.delivery.recheck import time_zone_of
from engagement.services.delivery.settings import delivery_settings
from engagement.services.message_queue import mark_expired_claims
from engagement.services.preferences import REENGAGEMENT
from engagement.services.resilience.errors import ErrorKind, error_kind
from engagement.services.resilience.retries import RetryPolicy, retry_own_transaction
from engagement.services.resilience.stop import StopRequest
from engagement.services.suppression import refuse_without_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from engagement.message_backends.base import OutgoingMessage, SendOutcome
    from engagement.models import SendingChannel
    from engagement.selectors.deliveries import Candidate
    from engagement.services.delivery.claim import Verdict
    from engagement.services.delivery.settings import DeliverySettings

LONGEST_AHEAD: Final = timedelta(seconds=10)
"""A slot that begins later is left to the next request."""
MOST_SECONDS: Final = 5.0
"""A request claims nothing after this time: its client must not have given up and asked again before."""
LOCK_TIMEOUT: Final = timedelta(seconds=2)
"""So that the wait for a lock does not make a request much longer."""
SHORTEST: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(minutes=15)
"""Of a lease, from `claimed_at`, with all its extensions."""
MOST_LEASED: Final = 100


log = structlog.get_logger("engagement")


class NoLease(Exception):
    """The message is not leased by this client in this attempt, or not any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that the client alone may send, from `send_at` until `expires_at`."""

    message: OutgoingMessage
    send_at: datetime
    expires_at: datetime
    is_repeat: bool
    """It was leased by an earlier request with the same id; the client may have begun to send it."""


@dataclass(frozen=True, slots=True)
class Leases:
    """The answer to a request for messages."""

    leases: tuple[Lease, ...]
    paused: Paused | None


def backend_of(client: str) -> str:
    """The name under which a client of the API sends."""
    return f"api:{client}"


def lease_messages(*, client: str, request_id: UUID, limit: int, length: timedelta) -> Leases:
    """Claim up to `limit` due messages for a client, for `length`.

    Transaction: several short ones, which must be the outermost.
    Raises ImproperlyConfigured if the suppression list cannot be asked.
    Repeatable with the same `request_id`: it then returns those messages of the first request that are still
    leased, and claims no others, or no more than `limit` in all if the first has not ended.
    """
    backend = backend_of(client)
    refuse_without_key()
    now = deliveries.database_now()
    mark_expired_claims(now=now)
    if _is_known(request_id, backend):
        return Leases(_leased(backend, request_id, now=now, slots={}), None)
    leasing = _Leasing(backend, request_id, length=length, limit=limit)
    paused = leasing.claim_some()
    return Leases(_leased(backend, request_id, now=now, slots=leasing.slots), paused)


def _is_known(request_id: UUID, backend: str) -> bool:
    return deliveries.leased_for(request_id, backend=backend).exists()


class _Leasing:
    """One request for messages."""

    def __init__(self, backend: str, request_id: UUID, *, length: timedelta, limit: int) -> None:
        settings = engagement_settings()
        self._delivery = delivery_settings()
        self._backend = backend
        self._retries = RetryPolicy.of(settings, stop=StopRequest())
        self._interval = interval_of(None, self._delivery)
        self._terms = ClaimTerms(
            backend=backend,
            length=length,
            goodbye_wait=settings.policy.goodbye_wait,
            settings=self._delivery,
            lock_timeout=min(settings.lock_timeout, LOCK_TIMEOUT),
            lease_request_id=request_id,
            most_leased=limit,
        )
        self._limit = limit
        self._ends_at = time.monotonic() + MOST_SECONDS
        self.slots: dict[UUID, datetime] = {}
        """By message: when its slot begins."""

    def claim_some(self) -> Paused | None:
        """Claim up to the limit; returns the pause that ended it, if one did."""
        candidates = deliveries.candidates(
            self._delivery.types, clock=deliveries.database_now, read=self._retries.read
        )
        for candidate in candidates:
            if len(self.slots) == self._limit or time.monotonic() > self._ends_at:
                return None
            try:
                end = self._claim_one(candidate)
            except Exception as error:
                # What is claimed already must reach the client; a bad row must not hold up the others.
                is_bad_row = error_kind(error) is ErrorKind.DATA
                if not (is_bad_row or self.slots):
                    raise
                name = type(error).__name__
                log.error("engagement_lease_failed", message_id=str(candidate.id), error=name)  # noqa: TRY400
                if is_bad_row:
                    continue
                return None
            if end:
                return end if isinstance(end, Paused) else None
        return None

    def _claim_one(self, candidate: Candidate) -> Paused | Enough | None:
        """Claim the message if it may be sent. Returns what ends the request, if something does."""
        now, channels = deliveries.clock_and_channels(self._backend)
        slot = next_slot(channels, now=now)
        if isinstance(slot, Paused):
            return slot
        if slot - now > LONGEST_AHEAD:
            return Enough()
        if not self._interval:
            return self._claim_at(slot, candidate, channels, now=now)
        if not isinstance(self._claim(candidate, channels, now=now, has_slot=False), Eligible):
            return None
        slot = reserve_slot(backend=self._backend, interval=self._interval, has_jitter=False, now=now)
        if isinstance(slot, Paused):
            return slot
        is_soon = slot - now <= LONGEST_AHEAD
        end = self._claim_at(slot, candidate, channels, now=now) if is_soon else Enough()
        if candidate.id not in self.slots:
            release_slot(backend=self._backend, begins_at=slot, interval=self._interval)
        return end

    def _claim_at(
        self, slot: datetime, candidate: Candidate, channels: Mapping[str, SendingChannel], *, now: datetime
    ) -> Enough | None:
        verdict = self._claim(candidate, channels, now=now, has_slot=True)
        if isinstance(verdict, Claim):
            self.slots[candidate.id] = slot
        return verdict if isinstance(verdict, Enough) else None

    def _claim(
        self, candidate: Candidate, channels: Mapping[str, SendingChannel], *, now: datetime, has_slot: bool
    ) -> Verdict:
        return self._retries.retry_conflicts(
            partial(
                claim_message,
                candidate,
                terms=self._terms,
                attempt=Attempt.at(now),
                pauses=paused_templates(channels, now=now),
                now=now,
                has_slot=has_slot,
            ),
            within=timedelta(seconds=max(self._ends_at - time.monotonic(), 0)),
        )


def _leased(
    backend: str, request_id: UUID, *, now: datetime, slots: Mapping[UUID, datetime]
) -> tuple[Lease, ...]:
    """The messages of a request that are still leased. `slots` has those that it has just claimed."""
    rows = deliveries.leased_for(request_id, backend=backend).filter(
        status=MessageStatus.SENDING, claim_expires_at__gt=now
    )
    leases = []
    for row in rows.select_related("user").order_by("claimed_at", "id"):
        if row.attempt_id is None or row.claim_expires_at is None:
            continue
        leases.append(
            Lease(
                message=outgoing_message(row, row.user, attempt_id=row.attempt_id),
                send_at=slots.get(row.id, now),
                expires_at=row.claim_expires_at,
                is_repeat=row.id not in slots,
            )
        )
    return tuple(leases)


@retry_own_transaction
def extend_lease(*, client: str, message_id: UUID, attempt_id: UUID, length: timedelta) -> datetime:
    """Let a lease last for `length` from now; returns when it expires.

    It lasts at most 15 minutes in all, and not beyond the end of the user's sending hours; it is never
    shortened.
    Transaction: opens one. Locks the message. Repeatable.
    Raises NoLease if the message is not leased in this attempt, or not any more.
    """
    now = deliveries.database_now()
    mark_expired_claims(now=now)
    with transaction.atomic():
        message = locked(message_id)
        if message is None or not _is_leased(message, client, attempt_id) or message.claim_expires_at is None:
            raise NoLease
        expires_at, claimed_at = message.claim_expires_at, message.claimed_at or now
        if expires_at <= now:
            raise NoLease
        limits = [now + length, claimed_at + LONGEST]
        if closes_at := _closing_time(message, settings=delivery_settings(), now=now):
            limits.append(closes_at)
        message.claim_expires_at = max(expires_at, min(limits))
        message.save(update_fields=["claim_expires_at"])
        return message.claim_expires_at


def _is_leased(message: EngagementMessage, client: str, attempt_id: UUID) -> bool:
    is_ours = message.backend == backend_of(client) and message.attempt_id == attempt_id
    return is_ours and message.status == MessageStatus.SENDING


def _closing_time(
    message: EngagementMessage, *, settings: DeliverySettings, now: datetime
) -> datetime | None:
    if not settings.hours or message.message_type not in REENGAGEMENT:
        return None
    profile = UserProfile.objects.filter(pk=message.user_id).first()
    zone = time_zone_of(profile, default=settings.time_zone)
    return settings.hours.closes_by(now, within=LONGEST, zone=zone)


def report_outcome(*, client: str, message_id: UUID, attempt_id: UUID, result: SendOutcome) -> Ending:
    """Record how a leased message's attempt ended, also after the lease has expired.

    Transaction, repetition: as for `record_outcome`.
    Raises NoLease if the client has never leased the message.
    """
    backend, now = backend_of(client), deliveries.database_now()
    message = EngagementMessage.objects.filter(pk=message_id, backend=backend).first()
    if message is None or not is_plausible(attempt_id, message, now=now):
        raise NoLease
    profile = UserProfile.objects.filter(pk=message.user_id).first()
    return record_outcome(
        AttemptOutcome(message_id, attempt_id, result),
        backend=backend,
        template=template_scope(message, profile),
        max_attempts=delivery_settings().max_attempts,
        now=now,
    )
