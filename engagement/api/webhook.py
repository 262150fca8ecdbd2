"""WhatsApp's webhook: receipts, messages, buttons and stop preferences."""

from __future__ import annotations

import hmac
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseError
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from engagement.api.bodies import parsed
from engagement.api.whatsapp_events import Effect, PreferenceChange, UserMessage, events_in
from engagement.conf import text_setting
from engagement.selectors.addresses import user_with_number, wants_messages_in_group
from engagement.services.delivery.receipts import Receipt, ReceiptEffect, take_receipt
from engagement.services.inbound_messages import receive_and_reply, receive_message
from engagement.services.message_novelty import Novelty
from engagement.services.preferences import PreferenceSource, UserProfileNotFound, set_preference
from engagement.services.resilience.errors import describe, first_line, refuses_values
from engagement.services.state_machine import EngagementStateNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.http import HttpRequest

    from engagement.api.whatsapp_events import Event
    from engagement.services.inbound_messages import InboundResult

PREFIX: Final = "sha256="

log = structlog.get_logger("engagement")


@csrf_exempt
@require_http_methods(["GET", "POST"])
def whatsapp_webhook(request: HttpRequest) -> HttpResponse:
    """`GET`: prove to Meta that the address is ours. `POST`: take events.

    Transaction: one short one for each event. Repeatable: WhatsApp sends a request again, for up to seven
    days, unless the answer is 200; what was committed before then changes nothing.
    404 without WHATSAPP_APP_SECRET; 403 for a wrong token or signature; 400 for a body that is no webhook
    of WhatsApp; 413 for one that is too large; 503 if not all events could be recorded.
    """
    secret = text_setting("WHATSAPP_APP_SECRET")
    if not secret:
        raise Http404
    return _verify(request) if request.method == "GET" else _take(request, secret=secret)


def _verify(request: HttpRequest) -> HttpResponse:
    token = text_setting("WHATSAPP_VERIFY_TOKEN")
    given = request.GET.get("hub.verify_token", "")
    is_ours = bool(token) and hmac.compare_digest(given.encode(), token.encode())
    if request.GET.get("hub.mode") != "subscribe" or not is_ours:
        return _answer(HTTPStatus.FORBIDDEN, "The verify token is not WHATSAPP_VERIFY_TOKEN.")
    return _answer(HTTPStatus.OK, request.GET.get("hub.challenge", ""))


def _take(request: HttpRequest, *, secret: str) -> HttpResponse:
    try:
        content = request.body
    except RequestDataTooBig:
        return _answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
    if not _is_signed(content, request.headers.get("X-Hub-Signature-256", ""), secret=secret):
        return _answer(HTTPStatus.FORBIDDEN, "The signature does not fit the body and WHATSAPP_APP_SECRET.")
    try:
        body = parsed(content)
    except (ValueError, RecursionError):
        body = None
    events = events_in(body, phone_number_id=text_setting("WHATSAPP_PHONE_NUMBER_ID"))
    if events is None:
        return _answer(HTTPStatus.BAD_REQUEST, "The body is no webhook of a WhatsApp Business Account.")
    effects: Counter[str] = Counter(_effect_of(event, now=timezone.now()) for event in events)
    if unnamed := effects[Effect.WITHOUT_NUMBER]:
        log.warning("engagement_webhook_without_number", events=unnamed)
    if unreadable := effects[Effect.UNREADABLE]:
        log.warning("engagement_webhook_unreadable", events=unreadable)
    if effects[Effect.NOT_TAKEN]:
        log.warning("engagement_webhook_not_taken", **effects)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, "Not all events were recorded; send them again.")
    log.info("engagement_webhook_taken", **effects)
    return _answer(HTTPStatus.OK, "Taken.")


def _is_signed(content: bytes, signature: str, *, secret: str) -> bool:
    expected = PREFIX + hmac.digest(secret.encode(), content, "sha256").hex()
    return hmac.compare_digest(signature.encode(), expected.encode())


def _take_event(event: Event, *, now: datetime) -> Effect:
    match event:
        case Receipt():
            return _EFFECTS[take_receipt(event, now=now)]
        case UserMessage():
            return _take_message(event, now=now)
        case PreferenceChange():
            return _take_preference(event, now=now)
        case Effect():
            return event


def _effect_of(event: Event, *, now: datetime) -> Effect:
    """Take the event; whatever is wrong with it or with us is an effect, too."""
    try:
        return _take_event(event, now=now)
    except UnicodeError as error:
        log.error("engagement_webhook_event_failed", error=type(error).__name__)  # noqa: TRY400
        return Effect.FAILED
    except DatabaseError as error:
        if refuses_values(error):
            # An event that can never be recorded must not keep WhatsApp repeating the others for a week.
            log.error("engagement_webhook_event_failed", error=describe(error))  # noqa: TRY400
            return Effect.FAILED
        log.warning("engagement_webhook_database_away", error=first_line(error))
        return Effect.NOT_TAKEN
    except Exception as error:  # noqa: BLE001  whatever it is, it must not be answered with 200
        # By its type: its text may hold the message.
        log.error("engagement_webhook_crashed", error=type(error).__name__)  # noqa: TRY400
        return Effect.NOT_TAKEN


def _take_message(message: UserMessage, *, now: datetime) -> Effect:
    user_id = user_with_number(message.number)
    if user_id is None:
        return Effect.UNKNOWN
    # What is said in a group is said to others, unless the group is where the user wants our messages.
    is_for_us = not message.is_in_group or wants_messages_in_group(user_id)

    def take_by(service: Callable[..., InboundResult]) -> InboundResult:
        return service(
            user_id=user_id,
            text=message.text if is_for_us else "",
            received_at=message.received_at,
            now=now,
            message_id=message.message_id,
            button_of=message.button_of,
        )

    try:
        try:
            result = take_by(receive_and_reply)
        except DatabaseError as error:
            if not refuses_values(error):
                raise
            # A constraint or a trigger of the assistant's may refuse the reply. What the user said counts.
            result = take_by(receive_message)
            log.error("engagement_reply_not_queued", error=describe(error))  # noqa: TRY400
    except EngagementStateNotFound:  # deleted a moment ago
        return Effect.UNKNOWN
    return Effect.REPEATED if result.novelty is Novelty.REPEAT else Effect.RECORDED


def _take_preference(change: PreferenceChange, *, now: datetime) -> Effect:
    user_id = user_with_number(change.number)
    if user_id is None:
        return Effect.UNKNOWN
    try:
        made = set_preference(
            user_id=user_id,
            preference=change.preference,
            said_at=min(change.said_at, now),
            now=now,
            source=PreferenceSource.PROVIDER,
        )
    except UserProfileNotFound:
        return Effect.UNKNOWN
    return Effect.RECORDED if made.is_applied else Effect.REPEATED


_EFFECTS: Final = {
    ReceiptEffect.RECORDED: Effect.RECORDED,
    ReceiptEffect.REPEATED: Effect.REPEATED,
    ReceiptEffect.EARLIER_ATTEMPT: Effect.IGNORED,
    ReceiptEffect.UNKNOWN_MESSAGE: Effect.UNKNOWN,
}


def _answer(status: HTTPStatus, sentence: str) -> HttpResponse:
    return HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
