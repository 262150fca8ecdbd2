"""Receipts: what the provider reports later about a message that it accepted or refused.

Receipts are repeated and come in any order. Proof of acceptance wins; receipts move forwards only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.db import transaction

from engagement.conf import engagement_settings
from engagement.message_backends.base import Refused, Scope, Unknown
from engagement.models import EngagementMessage, MessageType, UserProfile
from engagement.selectors.due_users import lock_states_of
from engagement.selectors.goodbyes import is_goodbye_of_wait
from engagement.services.delivery.attempts import is_plausible
from engagement.services.delivery.channels import hold_back
from engagement.services.delivery.claim import template_scope
from engagement.services.delivery.outcomes import become_sent, lock_user, locked, opt_out_known
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.state_machine import extend_wait
from engagement.states import require_aware

if TYPE_CHECKING:
    from datetime import datetime

log = structlog.get_logger("engagement")


class ReceiptKind(StrEnum):
    """What a receipt says."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


class ReceiptEffect(StrEnum):
    """What a receipt changed."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    """It said nothing new."""
    EARLIER_ATTEMPT = "earlier_attempt"
    """It reports the failure of an attempt that is not the latest; nothing was changed."""
    UNKNOWN_MESSAGE = "unknown_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt of the provider."""

    kind: ReceiptKind
    occurred_at: datetime
    """The provider's time."""
    message_id: UUID | None = None
    attempt_id: UUID | None = None
    """From the data that the provider sends back."""
    provider_message_id: str | None = None
    refusal: Refused | Unknown | None = None
    """Why it failed, as `refusal_of` returns it."""

    @property
    def known_refusal(self) -> Refused | None:
        return self.refusal if isinstance(self.refusal, Refused) else None


def callback_ids(text: str | None) -> tuple[UUID, UUID] | None:
    """The message and the attempt in `{message id}:{attempt id}`; None for any other text."""
    message_id, _, attempt_id = (text or "").partition(":")
    try:
        return UUID(message_id), UUID(attempt_id)
    except ValueError:
        return None


def take_receipt(receipt: Receipt, *, now: datetime) -> ReceiptEffect:
    """Record a receipt. A failure that is not about the recipient pauses sending, too.

    The pause counts from the failure; one from before sending was resumed does not pause again.
    Without `message_id` the message is found by the provider's id. An `attempt_id` that cannot be one of
    the message's tells no time.
    Transaction: opens one; locks the user's state row, the profile and the message, in this order, as far
    as the receipt needs them. A pause is written in the channel's own. Repeatable.
    Raises ValueError for a naive time.
    """
    require_aware(receipt.occurred_at)
    require_aware(now)
    found = _find(receipt)
    if found is None:
        log.info("engagement_receipt_unknown", kind=receipt.kind.value)
        return ReceiptEffect.UNKNOWN_MESSAGE
    effect = _take(receipt, found, now=now)
    refusal = receipt.known_refusal
    says_something = effect in {ReceiptEffect.RECORDED, ReceiptEffect.REPEATED}
    if says_something and refusal and receipt.kind is ReceiptKind.FAILED:
        # Also when repeated: the first time, the database may have failed after the receipt was recorded.
        found.refresh_from_db(fields=["failed_at"])
        since = found.failed_at or now
        hold_back(refusal, backend=found.backend or "", template=_template_of(found), since=since, now=now)
    return effect


def _find(receipt: Receipt) -> EngagementMessage | None:
    messages = EngagementMessage.objects.all()
    if receipt.message_id:
        return messages.filter(pk=receipt.message_id).first()
    if receipt.provider_message_id:
        return messages.filter(provider_message_id=receipt.provider_message_id).order_by("-id").first()
    return None


@retry_own_transaction
def _take(receipt: Receipt, found: EngagementMessage, *, now: datetime) -> ReceiptEffect:
    refusal = receipt.known_refusal
    opts_out = refusal is not None and refusal.scope is Scope.OPTED_OUT
    extends = receipt.kind is ReceiptKind.DELIVERED and found.message_type == MessageType.GOODBYE
    with transaction.atomic():
        if opts_out:
            lock_user(found.user_id)
        waiting = lock_states_of([found.user_id]) if extends else []
        message = locked(found.id)
        if message is None:
            return ReceiptEffect.UNKNOWN_MESSAGE
        effect = _apply(receipt, message, now=now)
        if message.delivered_at and any(is_goodbye_of_wait(message, user_state) for user_state in waiting):
            wait = engagement_settings().policy.goodbye_wait
            extend_wait(user_id=message.user_id, until=message.delivered_at + wait)
        if opts_out and effect is ReceiptEffect.RECORDED:
            opt_out_known(message.user_id, now=now, said_at=min(receipt.occurred_at, now))
    return effect


def _apply(receipt: Receipt, message: EngagementMessage, *, now: datetime) -> ReceiptEffect:
    is_latest = receipt.attempt_id is None or receipt.attempt_id == message.attempt_id
    if receipt.kind is ReceiptKind.FAILED and not is_latest:
        log.info("engagement_receipt_of_earlier_attempt", message_id=str(message.id))
        return ReceiptEffect.EARLIER_ATTEMPT
    before = _facts(message)
    may_be_ours = receipt.attempt_id and is_plausible(receipt.attempt_id, message, now=now)
    become_sent(
        message,
        attempt_id=receipt.attempt_id if may_be_ours else None,
        provider_message_id=receipt.provider_message_id,
    )
    at = min(max(receipt.occurred_at, message.claimed_at or receipt.occurred_at), now)
    message.sent_at = message.sent_at or at
    match receipt.kind:
        case ReceiptKind.DELIVERED:
            message.delivered_at = message.delivered_at or at
        case ReceiptKind.READ:
            message.read_at = message.read_at or at
        case ReceiptKind.FAILED:
            known = message.error_code if message.failed_at else None
            message.failed_at = message.failed_at or at
            message.error_code = known or _code_of(receipt.refusal) or message.error_code
    message.save(update_fields=["sent_at", "delivered_at", "read_at", "failed_at", "error_code"])
    return ReceiptEffect.REPEATED if _facts(message) == before else ReceiptEffect.RECORDED


def _code_of(refusal: Refused | Unknown | None) -> str | None:
    """The provider's code, also one that says too little to act on."""
    if isinstance(refusal, Unknown):
        return refusal.reason.removeprefix("code_")
    return refusal.code if refusal else None


def _facts(message: EngagementMessage) -> tuple[object, ...]:
    return (
        message.status,
        message.provider_message_id,
        message.delivered_at,
        message.read_at,
        message.failed_at,
    )


def _template_of(message: EngagementMessage) -> str:
    return template_scope(message, UserProfile.objects.filter(pk=message.user_id).first())
