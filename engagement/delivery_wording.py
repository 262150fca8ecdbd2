"""How the delivery of a message and the pauses of sending read, in the terminal and in the admin. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from engagement.formatting import date_text
from engagement.message_backends.base import Scope
from engagement.models import MessageStatus
from engagement.privacy import redact
from engagement.selectors import deliveries
from engagement.services import message_queue
from engagement.services.delivery import claim, outcomes, recheck
from engagement.services.delivery.channels import WITHOUT_END

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.models import SendingChannel

OUTCOME_REASONS: Final = {
    deliveries.WAITING_HOURS: "outside the user's hours",
    deliveries.WAITING_CAP: "the daily cap is reached",
    deliveries.WAITING_PAUSE: "its template is paused",
    deliveries.WAITING_ALLOW_LIST: "only some addresses are allowed",
    outcomes.WAITING_RETRY: "refused, and tried again",
    recheck.NO_PROFILE: "the user has no profile",
    recheck.NO_ADDRESS: "the user has no address",
    recheck.OPTED_OUT: "the user has opted out",
    recheck.NOT_THIS_WAIT: "the user is not waiting for it any more",
    recheck.TOO_OLD: "it was too old",
    message_queue.WAIT_OVER: "its wait was over before it was sent",
    message_queue.EXPIRED_CLAIM: "the sender died while it was sending",
    claim.CANNOT_BE_RENDERED: "the catalogue has no text for it",
    outcomes.DID_NOT_ARRIVE: "a person found that it did not arrive",
    Scope.RECIPIENT.value: "this user cannot get it",
    Scope.RECIPIENT_LATER.value: "this user could not get it, several times",
    Scope.PLATFORM.value: "the provider had trouble, several times",
}
"""What the `outcome_reason` of a message means. Others are the words of a backend."""


class DeliveryFacts(Protocol):
    """What the queue knows about the delivery of a message."""

    @property
    def status(self) -> str: ...
    @property
    def scheduled_for(self) -> datetime: ...
    @property
    def next_attempt_at(self) -> datetime | None: ...
    @property
    def claimed_at(self) -> datetime | None: ...
    @property
    def sent_at(self) -> datetime | None: ...
    @property
    def delivered_at(self) -> datetime | None: ...
    @property
    def read_at(self) -> datetime | None: ...
    @property
    def failed_at(self) -> datetime | None: ...
    @property
    def error_code(self) -> str | None: ...
    @property
    def outcome_reason(self) -> str | None: ...


def delivery_text(message: DeliveryFacts) -> str:
    """Where a message is on its way: `sent on 1 July 1998, 06:00 UTC, read on …`."""
    reason = reason_text(message)
    match message.status:
        case MessageStatus.PENDING:
            held_until = message.next_attempt_at
            if held_until:
                return f"not sent yet, held back until {date_text(held_until)}{reason}"
            return f"not sent yet, scheduled for {date_text(message.scheduled_for)}{reason}"
        case MessageStatus.SENDING:
            return f"being sent since {date_text(message.claimed_at)}"
        case MessageStatus.UNKNOWN:
            return f"perhaps sent on {date_text(message.claimed_at)}; the outcome is unknown{reason}"
        case MessageStatus.SENT:
            return ", ".join(_receipts(message))
        case _:
            return f"{message.status}{reason}"


def reason_text(message: DeliveryFacts) -> str:
    """The reason and the provider's code in parentheses; empty without either."""
    reason = message.outcome_reason and OUTCOME_REASONS.get(message.outcome_reason, message.outcome_reason)
    code = message.error_code and f"code {message.error_code}"
    parts = [part for part in (reason, code) if part]
    return f" ({', '.join(parts)})" if parts else ""


def until_text(until: datetime) -> str:
    """How long a pause lasts."""
    return "until it is resumed" if until >= WITHOUT_END else f"until {date_text(until)}"


def pause_sentence(channel: SendingChannel) -> str:
    """What is paused, until when, and why."""
    what = f"Sending of {channel.scope}" if channel.scope else "Sending"
    until = until_text(channel.paused_until or WITHOUT_END)
    return f"{what} by {channel.backend} is paused {until}: {redact(channel.pause_reason or 'no reason')}."


def _receipts(message: DeliveryFacts) -> Iterator[str]:
    yield f"sent on {date_text(message.sent_at)}"
    if message.delivered_at:
        yield f"delivered on {date_text(message.delivered_at)}"
    if message.read_at:
        yield f"read on {date_text(message.read_at)}"
    if message.failed_at:
        yield f"reported as not delivered on {date_text(message.failed_at)}{reason_text(message)}"
