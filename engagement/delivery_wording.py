"""How the delivery of a message and the pauses of sending read, in the terminal and in the admin. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.formatting import date_text, fill
from engagement.message_backends import base as backends
from engagement.models import MessageStatus
from engagement.privacy import redact
from engagement.selectors import deliveries
from engagement.services import message_queue
from engagement.services.delivery import claim, outcomes, recheck
from engagement.services.delivery.channels import WITHOUT_END

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.formatting import DateFormat
    from engagement.models import EngagementMessage, SendingChannel
    from engagement.selectors.user_history import MessageRecord

    Message = EngagementMessage | MessageRecord

OUTCOME_REASONS: Final = {
    deliveries.WAITING_HOURS: gettext_lazy("outside the user's hours"),
    deliveries.WAITING_CAP: gettext_lazy("the daily cap is reached"),
    deliveries.WAITING_PAUSE: gettext_lazy("its template is paused"),
    deliveries.WAITING_ALLOW_LIST: gettext_lazy("the number is not on the list of allowed ones"),
    deliveries.CANNOT_BE_CLAIMED: gettext_lazy("it could not be claimed; see the sender's log"),
    outcomes.WAITING_RETRY: gettext_lazy("refused, will be retried"),
    recheck.NO_PROFILE: gettext_lazy("the user has no profile"),
    recheck.NO_ADDRESS: gettext_lazy("the user has no address"),
    message_queue.OPTED_OUT: gettext_lazy("the user has opted out"),
    recheck.NOT_THIS_WAIT: gettext_lazy("the user no longer waits for it"),
    recheck.TOO_OLD: gettext_lazy("it expired before it was sent"),
    message_queue.USER_WROTE: gettext_lazy("the user has written"),
    message_queue.BY_STAFF: gettext_lazy("a member of the team did it"),
    message_queue.RUN_UNDONE: gettext_lazy("the run was undone"),
    message_queue.ERASED: gettext_lazy("the user was erased"),
    message_queue.WAIT_OVER: gettext_lazy("the wait for a reply ended before it was sent"),
    message_queue.EXPIRED_CLAIM: gettext_lazy("the sender stopped before it knew the outcome"),
    claim.CANNOT_BE_RENDERED: gettext_lazy("there is no text for this key"),
    backends.TIMEOUT: gettext_lazy("the provider did not answer in time"),
    backends.TOO_LARGE: gettext_lazy("the answer was too large"),
    backends.NO_MESSAGE_ID: gettext_lazy("the answer did not name the message"),
    backends.NOT_RECORDED: gettext_lazy("the outcome could not be stored"),
    backends.BACKEND_CRASHED: gettext_lazy("an error in the backend"),
    outcomes.DID_NOT_ARRIVE: gettext_lazy("marked as not arrived"),
    backends.Scope.RECIPIENT.value: gettext_lazy("the provider cannot deliver to this number"),
    backends.Scope.RECIPIENT_LATER.value: gettext_lazy(
        "the provider could not deliver to this number, after several attempts"
    ),
    backends.Scope.PLATFORM.value: gettext_lazy("the provider was unavailable, after several attempts"),
}
"""What the `outcome_reason` of a message means. Others are the words of a backend."""

_ANSWER: Final = re.compile(r"(?:http|code)_(\d{1,6})", re.ASCII)
"""A status or a code of the provider, after which the outcome is unknown."""
_RECEIPTS: Final = (
    ("sent_at", gettext_lazy("sent on %(date)s")),
    ("delivered_at", gettext_lazy("delivered on %(date)s")),
    ("read_at", gettext_lazy("read on %(date)s")),
    ("failed_at", gettext_lazy("reported as not delivered on %(date)s%(reason)s")),
)


def delivery_text(message: Message, *, now: datetime, date: DateFormat = date_text) -> str:
    """Where a message is on its way: `sent on 1 July 1998, 06:00 UTC, read on …`."""
    reason = reason_text(message)
    match message.status:
        case MessageStatus.PENDING:
            return _pending_text(message, reason, now=now, date=date)
        case MessageStatus.SENDING:
            return fill(_("being sent since %(date)s"), date=date(message.claimed_at))
        case MessageStatus.UNKNOWN:
            return fill(
                _("perhaps sent on %(date)s; the outcome is unknown%(reason)s"),
                date=date(message.claimed_at),
                reason=reason,
            )
        case MessageStatus.SENT:
            return _receipts_text(message, date=date)
        case _:
            return f"{str(MessageStatus(message.status).label).lower()}{reason}"


def _pending_text(message: Message, reason: str, *, now: datetime, date: DateFormat) -> str:
    scheduled_for, held_until = message.scheduled_for, message.next_attempt_at
    if held_until and held_until > now:
        template = _("not sent yet, held back until %(date)s%(reason)s")
        return fill(template, date=date(held_until), reason=reason)
    if scheduled_for > now:
        return fill(
            _("not sent yet, scheduled for %(date)s%(reason)s"), date=date(scheduled_for), reason=reason
        )
    due_since = max(scheduled_for, held_until or scheduled_for)
    # What held it back before does so no more.
    template = _("not sent yet, due since %(date)s%(reason)s")
    return fill(template, date=date(due_since), reason=reason if _was_refused(message) else "")


def outcome_text(reason: str) -> str:
    """What an `outcome_reason` means, without anything that looks like an address."""
    if answer := _ANSWER.fullmatch(reason):
        return fill(_("the provider answered %(code)s"), code=answer[1])
    return str(OUTCOME_REASONS.get(reason) or redact(reason))


def reason_text(message: Message) -> str:
    """The reason and the provider's code in parentheses; empty without either.

    A message keeps the code of its last refusal, also if something else decides later.
    """
    reason = message.outcome_reason and outcome_text(message.outcome_reason)
    code = (
        _was_refused(message)
        and message.error_code
        and fill(_("code %(code)s"), code=redact(message.error_code))
    )
    parts = [part for part in (reason, code) if part]
    return f" ({', '.join(parts)})" if parts else ""


def _was_refused(message: Message) -> bool:
    """Whether a refusal made the message what it is."""
    if message.status == MessageStatus.PENDING:
        return message.outcome_reason == outcomes.WAITING_RETRY
    if message.status == MessageStatus.FAILED:
        return message.outcome_reason not in {outcomes.DID_NOT_ARRIVE, claim.CANNOT_BE_RENDERED}
    return message.status == MessageStatus.SENT


def until_text(until: datetime, *, date: DateFormat = date_text) -> str:
    """How long a pause lasts."""
    if until >= WITHOUT_END:
        return _("until it is resumed")
    return fill(_("until %(date)s"), date=date(until))


def pause_sentence(channel: SendingChannel, *, date: DateFormat = date_text) -> str:
    """What is paused, until when, and why."""
    template = (
        _("Sending of %(scope)s by %(backend)s is paused %(until)s: %(reason)s.")
        if channel.scope
        else _("Sending by %(backend)s is paused %(until)s: %(reason)s.")
    )
    return fill(
        template,
        scope=redact(channel.scope),
        backend=redact(channel.backend),
        until=until_text(channel.paused_until or WITHOUT_END, date=date),
        reason=redact(channel.pause_reason or _("no reason given")),
    )


def _receipts_text(message: Message, *, date: DateFormat) -> str:
    """What is known of a sent message, with commas between."""
    text = ""
    for name, template in _RECEIPTS:
        if (instant := getattr(message, name)) or name == "sent_at":
            receipt = fill(str(template), date=date(instant), reason=reason_text(message))
            text = fill("%(before)s, %(receipt)s", before=text, receipt=receipt) if text else receipt
    return text
