"""What the people behind the sandbox do: answer, and let their phones report what arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils import timezone

from engagement import message_catalogue
from engagement.message_backends.base import Refused, Scope
from engagement.models import EngagementMessage
from engagement.selectors.addresses import locale_of
from engagement.services.delivery.receipts import (
    Receipt,
    ReceiptEffect,
    ReceiptKind,
    callback_ids,
    take_receipt,
)
from engagement.services.inbound_messages import receive_message
from engagement.states import Trigger

if TYPE_CHECKING:
    from engagement.sandbox.server import SandboxMessage
    from engagement.services.inbound_messages import InboundResult

ANSWER: Final = "answer"
NOT_DELIVERED: Final = Refused(Scope.RECIPIENT, "131026")
"""The reason of a receipt `failed`: the receiver cannot get messages."""


class NotFromThisDatabase(Exception):
    """A message that the sandbox received is not in this database's queue."""


def act(message: SandboxMessage, what: str) -> str:
    """Do `answer:TEXT` or `receipt:KIND` for a message; returns a sentence about it."""
    verb, _, rest = what.partition(":")
    try:
        if verb == ANSWER:
            return sentence_about(answer(message, rest), text=rest)
        effect = report(message, ReceiptKind(rest))
    except NotFromThisDatabase:
        return "This message is not in the queue of this database."
    except ValueError:
        return "The sandbox knows no such answer."
    return f"Receipt {rest}: {effect.value.replace('_', ' ')}."


def answer(message: SandboxMessage, text: str) -> InboundResult:
    """The receiver writes `text`. Transaction: one. Raises NotFromThisDatabase."""
    now = timezone.now()
    return receive_message(user_id=queued(message).user_id, text=text, received_at=now, now=now)


def report(message: SandboxMessage, kind: ReceiptKind) -> ReceiptEffect:
    """WhatsApp reports that a message was delivered, read or lost. Transaction: as take_receipt's.

    Raises NotFromThisDatabase.
    """
    message_id, attempt_id = callback_ids(message.callback_data) or (queued(message).id, None)
    now = timezone.now()
    receipt = Receipt(
        kind=kind,
        occurred_at=now,
        message_id=message_id,
        attempt_id=attempt_id,
        provider_message_id=message.provider_message_id,
        refusal=NOT_DELIVERED if kind is ReceiptKind.FAILED else None,
    )
    return take_receipt(receipt, now=now)


def text_of(message: SandboxMessage) -> str:
    """The message as the receiver reads it."""
    if message.body["type"] == "text":
        return str(message.body["text"].get("body", ""))
    try:
        row = queued(message)
        locale = locale_of(row.user_id) or ""
        return message_catalogue.render(key=row.message_key, locale=locale, params=row.message_params)
    except (NotFromThisDatabase, message_catalogue.UnknownMessageKey):
        return f"(template {message.body.get('template', {}).get('name')})"


def reply_to(result: InboundResult, *, locale: str) -> str | None:
    """The text of the assistant's reply to what a person wrote, if there is one."""
    if result.reply_key is None:
        return None
    return message_catalogue.render(key=result.reply_key, locale=locale, params=result.reply_params)


def sentence_about(result: InboundResult, *, text: str) -> str:
    """What a message of a person has changed."""
    move = result.transition
    moved = f"{move.from_state} to {move.to_state} ({Trigger(move.trigger).label})" if move else "not moved"
    opted = f", {result.preference.value.replace('_', ' ')}" if result.preference else ""
    replied = f", reply {result.reply_key}" if result.reply_key else ""
    return f"{text!r}: {moved}{opted}{replied}."


def queued(message: SandboxMessage) -> EngagementMessage:
    """The row of the queue that was sent. Raises NotFromThisDatabase."""
    rows = EngagementMessage.objects.all()
    ids = callback_ids(message.callback_data)
    rows = rows.filter(pk=ids[0]) if ids else rows.filter(provider_message_id=message.provider_message_id)
    row = rows.order_by("-id").first()
    if row is None:
        raise NotFromThisDatabase
    return row
