"""How the delivery of a message and the pauses of sending read, in the terminal and in the admin. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

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
    deliveries.WAITING_HOURS: gettext_lazy("outside the user's hours"),
    deliveries.WAITING_CAP: gettext_lazy("the daily cap is reached"),
    deliveries.WAITING_PAUSE: gettext_lazy("its template is paused"),
    deliveries.WAITING_ALLOW_LIST: gettext_lazy("the number is not on the list of allowed ones"),
    outcomes.WAITING_RETRY: gettext_lazy("refused, will be retried"),
    recheck.NO_PROFILE: gettext_lazy("the user has no profile"),
    recheck.NO_ADDRESS: gettext_lazy("the user has no address"),
    recheck.OPTED_OUT: gettext_lazy("the user has opted out"),
    recheck.NOT_THIS_WAIT: gettext_lazy("the user no longer waits for it"),
    recheck.TOO_OLD: gettext_lazy("it expired before it was sent"),
    message_queue.WAIT_OVER: gettext_lazy("the wait for a reply ended before it was sent"),
    message_queue.EXPIRED_CLAIM: gettext_lazy("the sender stopped before it knew the outcome"),
    claim.CANNOT_BE_RENDERED: gettext_lazy("there is no text for this key"),
    outcomes.DID_NOT_ARRIVE: gettext_lazy("marked as not arrived"),
    Scope.RECIPIENT.value: gettext_lazy("the provider cannot deliver to this number"),
    Scope.RECIPIENT_LATER.value: gettext_lazy(
        "the provider could not deliver to this number, after several attempts"
    ),
    Scope.PLATFORM.value: gettext_lazy("the provider was unavailable, after several attempts"),
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
                return _("not sent yet, held back until %(date)s") % {"date": date_text(held_until)} + reason
            return (
                _("not sent yet, scheduled for %(date)s") % {"date": date_text(message.scheduled_for)}
                + reason
            )
        case MessageStatus.SENDING:
            return _("being sent since %(date)s") % {"date": date_text(message.claimed_at)}
        case MessageStatus.UNKNOWN:
            text = _("perhaps sent on %(date)s; the outcome is unknown")
            return text % {"date": date_text(message.claimed_at)} + reason
        case MessageStatus.SENT:
            return ", ".join(_receipts(message))
        case _:
            return f"{message.status}{reason}"


def reason_text(message: DeliveryFacts) -> str:
    """The reason and the provider's code in parentheses; empty without either."""
    reason = message.outcome_reason and str(
        OUTCOME_REASONS.get(message.outcome_reason, message.outcome_reason)
    )
    code = message.error_code and _("code %(code)s") % {"code": message.error_code}
    parts = [part for part in (reason, code) if part]
    return f" ({', '.join(parts)})" if parts else ""


def until_text(until: datetime) -> str:
    """How long a pause lasts."""
    if until >= WITHOUT_END:
        return _("until it is resumed")
    return _("until %(date)s") % {"date": date_text(until)}


def pause_sentence(channel: SendingChannel) -> str:
    """What is paused, until when, and why."""
    facts = {
        "scope": channel.scope,
        "backend": channel.backend,
        "until": until_text(channel.paused_until or WITHOUT_END),
        "reason": redact(channel.pause_reason or "") or _("no reason given"),
    }
    if channel.scope:
        return _("Sending of %(scope)s by %(backend)s is paused %(until)s: %(reason)s.") % facts
    return _("Sending by %(backend)s is paused %(until)s: %(reason)s.") % facts


def _receipts(message: DeliveryFacts) -> Iterator[str]:
    yield _("sent on %(date)s") % {"date": date_text(message.sent_at)}
    if message.delivered_at:
        yield _("delivered on %(date)s") % {"date": date_text(message.delivered_at)}
    if message.read_at:
        yield _("read on %(date)s") % {"date": date_text(message.read_at)}
    if message.failed_at:
        text = _("reported as not delivered on %(date)s") % {"date": date_text(message.failed_at)}
        yield f"{text}{reason_text(message)}"
