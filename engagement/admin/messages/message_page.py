"""The page of a message: what, to whom, why and when, in words; technical details last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.admin.labels import MESSAGE_COLORS, dated
from engagement.admin.masking import shown_address, shown_json, shown_secret, shown_text
from engagement.admin.messages.texts import error_text, message_text
from engagement.admin.people.names import short_id
from engagement.delivery_wording import delivery_text, outcome_text
from engagement.local_times import shown_time
from engagement.models import MessageStatus, MessageType
from engagement.selectors.addresses import locale_of
from engagement.services.support import why_not_retry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.admin.masking import Visibility
    from engagement.models import EngagementMessage

WHY: Final = {
    MessageType.GOODBYE.value: gettext_lazy("The user was silent for long enough."),
    MessageType.REPLY.value: gettext_lazy("It answers a message of the user."),
    MessageType.WELCOME.value: gettext_lazy("The user is new."),
    MessageType.REMINDER.value: gettext_lazy("The assistant queued a reminder."),
    MessageType.WEEKLY_REVIEW.value: gettext_lazy("The assistant queued a weekly review."),
    MessageType.HELP_RESTART.value: gettext_lazy("The assistant offers help."),
    MessageType.TIER_UNLOCK.value: gettext_lazy("The user has reached a new tier."),
}


class MessagePage(NamedTuple):
    """The context of the template."""

    kind: str
    status: str
    color: str
    headline: str
    text: str
    facts: list[tuple[str, Any]]
    details: list[tuple[str, Any]]
    may_retry: bool


def message_page(message: EngagementMessage, *, now: datetime, visibility: Visibility) -> MessagePage:
    """Everything about a message that the reader may see."""
    unmasked = visibility.contacts
    text = message_text(message, locale=locale_of(message.user_id))
    headline = delivery_text(message, now=now, date=shown_time)
    # Without permission to see states the page does not tell whether the user waits.
    may_know = _has_failed(message) and visibility.states
    refusal = why_not_retry([message], now=now).get(message.pk) if may_know else None
    return MessagePage(
        kind=message.get_message_type_display(),
        status=message.get_status_display(),
        color=MESSAGE_COLORS.get(message.status, ""),
        headline=headline,
        text=shown_text(text, unmasked=unmasked),
        facts=[*_facts(message, now=now, unmasked=unmasked)],
        details=[*_details(message, unmasked=unmasked)],
        may_retry=_has_failed(message) and refusal is None,
    )


def _has_failed(message: EngagementMessage) -> bool:
    return message.status == MessageStatus.FAILED


def _facts(message: EngagementMessage, *, now: datetime, unmasked: bool) -> Iterator[tuple[str, str]]:
    yield _("Why"), str(WHY[message.message_type])
    address = shown_address(message.destination_jid, unmasked=unmasked)
    yield _("To"), f"{address} ({message.get_destination_display()})"
    for name, instant in (
        (_("Queued"), message.created_at),
        (_("Scheduled for"), message.scheduled_for),
        (_("Held back until"), message.next_attempt_at if message.status == MessageStatus.PENDING else None),
        (_("Taken by the sender"), message.claimed_at),
        (_("Sent"), message.sent_at),
        (_("Delivered"), message.delivered_at),
        (_("Read"), message.read_at),
        (_("Reported as failed"), message.failed_at),
    ):
        if instant is not None:
            yield name, dated(instant, now=now)
    if message.retry_count:
        yield _("Failed attempts"), str(message.retry_count)
    if reason := message.outcome_reason:
        yield _("Reason"), shown_text(outcome_text(reason), unmasked=unmasked)
    if error := error_text(message):
        yield _("Error"), shown_text(error, unmasked=unmasked)
    if message.error_code:
        yield _("Error code"), shown_text(message.error_code, unmasked=unmasked)


def _details(message: EngagementMessage, *, unmasked: bool) -> Iterator[tuple[str, str]]:
    yield _("Message ID"), str(message.pk)
    yield _("User ID"), str(message.user_id)
    yield _("Message key"), shown_text(message.message_key, unmasked=unmasked)
    yield _("Parameters"), shown_json(message.message_params, unmasked=unmasked)
    yield _("Idempotency key"), shown_text(message.idempotency_key, unmasked=unmasked)
    yield _("Backend"), shown_text(message.backend, unmasked=unmasked) or _("none yet")
    if message.provider_message_id:
        yield _("Provider's message ID"), shown_secret(message.provider_message_id, unmasked=unmasked)
    if message.attempt_id:
        yield _("Last attempt"), short_id(message.attempt_id)
