"""How an attempt ended: accepted, refused, unknown. Rules: docs/delivery.md.

Each outcome takes the message's lock alone; a refusal that opts the user out locks state, profile and
message, in that order.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.db import connection, transaction

from engagement.conf import engagement_settings
from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import IN_DOUBT, EngagementMessage, MessageStatus, UserProfile
from engagement.replies import Preference
from engagement.selectors.deliveries import CANNOT_BE_CLAIMED, status_of
from engagement.selectors.due_users import lock_states_of
from engagement.services.delivery.attempts import attempt_time
from engagement.services.delivery.channels import MAX_RETRY_AFTER, hold_back
from engagement.services.message_queue import ERASED_KEY, EXPIRED_CLAIM
from engagement.services.preferences import PreferenceSource, UserProfileNotFound, set_preference
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.resilience.transactions import milliseconds
from engagement.states import DAY, MINUTE

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

COSTS_NO_ATTEMPT: Final = frozenset(
    {Scope.CONFIGURATION, Scope.ACCOUNT, Scope.TEMPLATE, Scope.THROTTLE, Scope.CONNECTION}
)
"""Refusals that say nothing about the message: it was never tried."""
FINAL: Final = frozenset({Scope.RECIPIENT, Scope.OPTED_OUT})

WAITING_RETRY: Final = "waiting_retry"
"""The `outcome_reason` of a pending message that was refused and will be tried again."""

DID_NOT_ARRIVE: Final = "did_not_arrive"

log = structlog.get_logger("engagement")


class Ending(StrEnum):
    """What an outcome made of a message."""

    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    WAITING = "waiting"
    """It is pending again."""
    STALE = "stale"
    """The attempt is not the message's present one; nothing was changed."""


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """How an attempt ended."""

    message_id: UUID
    attempt_id: UUID
    result: Accepted | Refused | Unknown


def record_outcome(
    outcome: AttemptOutcome, *, backend: str, template: str, max_attempts: int, now: datetime
) -> Ending:
    """Record how an attempt ended, and pause or slow down what its refusal is about.

    Acceptance wins over everything; a refusal or an unknown outcome counts for the present attempt alone.
    A repeated refusal pauses as the first one did, and no more after sending was resumed.
    Transaction: one for the message, then one for the channel. Repeatable.
    """
    result = outcome.result
    if isinstance(result, Accepted):
        return accept(
            message_id=outcome.message_id,
            attempt_id=outcome.attempt_id,
            provider_message_id=result.provider_message_id,
        )
    if isinstance(result, Unknown):
        return _mark_unknown(outcome, reason=result.reason)
    ending = _refuse(outcome, result, max_attempts=max_attempts, now=now)
    since = now
    if ending is Ending.STALE:
        if status_of(outcome.message_id) == MessageStatus.SENT:
            return ending
        # A repeat: the first time, the database may have failed between the two transactions.
        since = attempt_time(outcome.attempt_id) or now
    hold_back(result, backend=backend, template=template, since=since, now=now)
    return ending


@retry_own_transaction
def accept(*, message_id: UUID, attempt_id: UUID | None, provider_message_id: str | None) -> Ending:
    """Record that an attempt was accepted: the message is sent, since the time of that attempt.

    Without `attempt_id` it was the message's latest attempt.
    Transaction: opens one, or joins the caller's. Locks the message. Repeatable.
    """
    if _accept_present(message_id, attempt_id, provider_message_id):
        return Ending.SENT
    with transaction.atomic():
        message = locked(message_id)
        if message is None:
            return Ending.STALE
        become_sent(message, attempt_id=attempt_id, provider_message_id=provider_message_id)
    return Ending.SENT


def _accept_present(message_id: UUID, attempt_id: UUID | None, provider_message_id: str | None) -> bool:
    """Make a message sent whose present attempt is this one: nearly always so.

    One statement, which commits itself: the server finishes it even if this process dies.
    """
    is_alone = not connection.in_atomic_block
    lock_timeout = milliseconds(engagement_settings().lock_timeout) if is_alone else None
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPT_PRESENT, [lock_timeout, provider_message_id, message_id, attempt_id])
        changed: int = cursor.rowcount
    return changed > 0


def become_sent(
    message: EngagementMessage, *, attempt_id: UUID | None, provider_message_id: str | None
) -> None:
    """Make a locked message sent, if it is not; needs the caller's transaction."""
    attempt_id = attempt_id or message.attempt_id
    attempted_at = attempt_time(attempt_id)
    if message.status != MessageStatus.SENT:
        message.status = MessageStatus.SENT
        message.sent_at = attempted_at or message.claimed_at
        message.claim_expires_at = message.next_attempt_at = message.outcome_reason = None
        message.error_code = message.error_message = None
    message.claimed_at = message.claimed_at or attempted_at
    message.attempt_id = message.attempt_id or attempt_id
    if not message.idempotency_key.startswith(ERASED_KEY):  # the id holds the number
        message.provider_message_id = message.provider_message_id or provider_message_id
    message.save(update_fields=_OUTCOME_FIELDS)


@retry_own_transaction
def _mark_unknown(outcome: AttemptOutcome, *, reason: str) -> Ending:
    with transaction.atomic():
        message = _present(outcome)
        if message is None:
            return Ending.STALE
        message.status, message.outcome_reason = MessageStatus.UNKNOWN, reason
        message.claim_expires_at = None
        message.save(update_fields=_OUTCOME_FIELDS)
    log.warning("engagement_message_unknown", message_id=str(outcome.message_id), reason=reason)
    return Ending.UNKNOWN


@retry_own_transaction
def _refuse(outcome: AttemptOutcome, refusal: Refused, *, max_attempts: int, now: datetime) -> Ending:
    with transaction.atomic():
        if refusal.scope is Scope.OPTED_OUT:
            _lock_user_of(outcome.message_id)
        message = _present(outcome)
        if message is None:
            return Ending.STALE
        _apply(message, refusal, max_attempts=max_attempts, now=now)
        if refusal.scope is Scope.OPTED_OUT:
            opt_out_known(message.user_id, now=now)
    facts = {"message_id": str(message.id), "scope": refusal.scope.value, "code": refusal.code}
    if message.status == MessageStatus.FAILED:
        log.warning("engagement_message_failed", **facts)
        return Ending.FAILED
    log.warning("engagement_message_refused", **facts)
    return Ending.WAITING


def _apply(message: EngagementMessage, refusal: Refused, *, max_attempts: int, now: datetime) -> None:
    message.error_code = refusal.code
    message.claim_expires_at = None
    if refusal.scope in COSTS_NO_ATTEMPT:
        message.status, message.outcome_reason = MessageStatus.PENDING, WAITING_RETRY
        message.attempt_id = message.claimed_at = message.next_attempt_at = None
    else:
        message.retry_count += 1
        is_final = refusal.scope in FINAL or message.retry_count >= _attempts(refusal, max_attempts)
        message.status = MessageStatus.FAILED if is_final else MessageStatus.PENDING
        message.outcome_reason = refusal.scope.value if is_final else WAITING_RETRY
        message.next_attempt_at = None if is_final else now + _wait(message.retry_count, refusal)
        message.error_message = f"{refusal.scope.value} ({refusal.code})"
    message.save(update_fields=_OUTCOME_FIELDS)


def _attempts(refusal: Refused, max_attempts: int) -> int:
    """A refusal that asks for a day's wait is tried once more, and no oftener."""
    return 2 if refusal.retry_after and refusal.retry_after >= DAY else max_attempts


def _wait(retry_count: int, refusal: Refused) -> timedelta:
    """1, 5, 25 ... minutes, at most a day; or what the answer says."""
    growing = min(MINUTE * 5 ** (retry_count - 1), MAX_RETRY_AFTER)
    return min(max(refusal.retry_after or growing, MINUTE), MAX_RETRY_AFTER)


@retry_own_transaction
def resolve_unknown(*, message_id: UUID, arrived: bool) -> bool:
    """Record what a person found out about a message with an unknown outcome; returns whether it had one.

    What has not arrived has failed, and can be retried.
    Transaction: opens one, or joins the caller's. Locks the message. Repeatable.
    """
    with transaction.atomic():
        message = locked(message_id)
        if message is None or message.status != MessageStatus.UNKNOWN:
            return False
        if arrived:
            become_sent(message, attempt_id=None, provider_message_id=None)
        else:
            message.status, message.outcome_reason = MessageStatus.FAILED, DID_NOT_ARRIVE
            message.retry_count = max(message.retry_count, 1)
            message.save(update_fields=_OUTCOME_FIELDS)
    log.info("engagement_message_resolved", message_id=str(message_id), arrived=arrived)
    return True


@retry_own_transaction
def put_off(message_id: UUID, *, until: datetime) -> None:
    """Let a message that the database does not let a sender claim wait until then.

    Transaction: opens one. Repeatable.
    """
    with transaction.atomic():
        EngagementMessage.objects.filter(pk=message_id, status=MessageStatus.PENDING).update(
            next_attempt_at=until, outcome_reason=CANNOT_BE_CLAIMED
        )


def locked(message_id: UUID) -> EngagementMessage | None:
    """The message, locked in the caller's transaction; None if it does not exist."""
    return EngagementMessage.objects.select_for_update(no_key=True).filter(pk=message_id).first()


def _present(outcome: AttemptOutcome) -> EngagementMessage | None:
    """The message, locked, if the attempt is its present one and its outcome is open.

    An attempt whose claim has expired is `unknown`; its own outcome may still arrive late. That of a user who
    was erased does not: its reason may hold the number, and nothing is tried again.
    """
    message = locked(outcome.message_id)
    if message is None or message.attempt_id != outcome.attempt_id or message.status not in IN_DOUBT:
        return None
    if message.idempotency_key.startswith(ERASED_KEY):
        return None
    is_open = message.status == MessageStatus.SENDING or message.outcome_reason == EXPIRED_CLAIM
    return message if is_open else None


def _lock_user_of(message_id: UUID) -> None:
    user_ids = EngagementMessage.objects.filter(pk=message_id).values_list("user_id", flat=True)
    for user_id in user_ids:
        lock_user(user_id)


def lock_user(user_id: UUID) -> None:
    """Lock the state and the profile, which come before messages; needs the caller's transaction."""
    lock_states_of([user_id])
    UserProfile.objects.select_for_update(no_key=True).filter(pk=user_id).first()


def opt_out_known(user_id: UUID, *, now: datetime, said_at: datetime | None = None) -> None:
    """Opt the user out, as the provider reports; nothing for a user without a profile."""
    with suppress(UserProfileNotFound):
        set_preference(
            user_id=user_id,
            preference=Preference.OPTED_OUT,
            now=now,
            said_at=said_at,
            source=PreferenceSource.PROVIDER,
        )


_ACCEPT_PRESENT: Final = """
    -- Ends with the statement; a transaction of the caller's keeps what it has.
    WITH limits AS MATERIALIZED (
        SELECT set_config('lock_timeout', coalesce(%s, current_setting('lock_timeout')), true)
    )
    UPDATE engagement_message_queue
    SET status = 'sent',
        sent_at = claimed_at,
        provider_message_id = coalesce(provider_message_id, %s),
        claim_expires_at = NULL,
        next_attempt_at = NULL,
        outcome_reason = NULL,
        error_code = NULL,
        error_message = NULL
    FROM limits
    WHERE id = %s AND attempt_id = %s AND status = 'sending'
"""
_OUTCOME_FIELDS: Final[tuple[Any, ...]] = (
    "status",
    "attempt_id",
    "claimed_at",
    "claim_expires_at",
    "next_attempt_at",
    "provider_message_id",
    "sent_at",
    "retry_count",
    "error_code",
    "error_message",
    "outcome_reason",
)
