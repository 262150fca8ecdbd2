"""The HTTP API, `/api/v1/`: for an assistant in another language. Each request is one call of a service."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from ninja import NinjaAPI
from ninja.security import HttpBearer
from ninja.throttling import SimpleRateThrottle

from engagement import __version__, message_catalogue
from engagement.api.bodies import BodyParser
from engagement.api.errors import UNKNOWN_USER, ApiError, add_handlers
from engagement.api.schemas import (
    ErrorBody,
    ExtensionIn,
    ExtensionOut,
    InboundIn,
    InboundOut,
    LeaseIn,
    LeaseOut,
    LeasesOut,
    OutcomeIn,
    OutcomeOut,
    PreferenceOut,
    ReceiptIn,
    ReceiptOut,
    ReplyOut,
    TransitionOut,
)
from engagement.message_backends.whatsapp_cloud import refusal_of
from engagement.models import ApiScope
from engagement.selectors.addresses import locale_of, user_with_number
from engagement.services.api_tokens import valid_token
from engagement.services.delivery.leases import extend_lease, lease_messages, report_outcome
from engagement.services.delivery.receipts import Receipt, callback_ids, take_receipt
from engagement.services.explanation import explain_user
from engagement.services.inbound_messages import receive_message
from engagement.services.message_novelty import Novelty
from engagement.services.preferences import opt_in, opt_out

if TYPE_CHECKING:
    from engagement.models import ApiToken
    from engagement.services.delivery.leases import Lease
    from engagement.services.inbound_messages import InboundResult

RATE: Final = "50/s"
"""Requests of one token, for each process of the web server."""


class Bearer(HttpBearer):
    """A token with a scope."""

    def __init__(self, scope: ApiScope) -> None:
        super().__init__()
        self._scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiToken | None:  # noqa: ARG002  ninja's
        found = valid_token(token, now=timezone.now())
        if found and self._scope.value not in found.scopes:
            message = f"The token lacks the scope {self._scope.value}."
            raise ApiError(HTTPStatus.FORBIDDEN, "forbidden", message)
        return found


class TokenThrottle(SimpleRateThrottle):
    """Counts the requests of each token."""

    scope = "token"

    def get_cache_key(self, request: HttpRequest) -> str | None:
        token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja
        return f"engagement_api_{token.pk}"


api = NinjaAPI(
    title="Engagement",
    version=__version__,
    description=(
        "For an assistant in another language: report what users write, send what is due, ask why. Every"
        " request needs a bearer token with the scope that its tag names. Times are ISO 8601 with an offset."
    ),
    urls_namespace="engagement-api",
    throttle=[TokenThrottle(RATE)],
    parser=BodyParser(),
)
add_handlers(api)

ERRORS: Final = dict.fromkeys((400, 401, 403, 404, 413, 422, 429, 500, 503), ErrorBody)
CONFLICT: Final = {409: ErrorBody}


@api.post(
    "/inbound-messages",
    auth=Bearer(ApiScope.MESSAGES),
    tags=["messages"],
    response={200: InboundOut, **ERRORS},
    operation_id="report_message",
    summary="Report a message of a user, and get the reply",
)
def report_message(request: HttpRequest, data: InboundIn) -> InboundOut:  # noqa: ARG001  ninja's
    """Move the user, cancel a pending goodbye, and choose the reply. The reply is not queued: send it.

    A repeat changes nothing and gets the same reply.
    """
    user_id = data.user_id or user_with_number((data.number or "").lstrip("+"))
    if user_id is None:
        raise ApiError(*UNKNOWN_USER)
    now = timezone.now()
    result = receive_message(
        user_id=user_id,
        text=data.text,
        received_at=data.received_at or now,
        now=now,
        message_id=data.message_id,
        button_of=data.button_of,
    )
    return _inbound(user_id, result)


def _inbound(user_id: UUID, result: InboundResult) -> InboundOut:
    move = result.transition
    reply = None
    if result.reply_key:
        locale = locale_of(user_id) or ""
        reply = ReplyOut(
            key=result.reply_key,
            params=dict(result.reply_params),
            language=message_catalogue.language_of(locale),
            text=message_catalogue.render(key=result.reply_key, locale=locale, params=result.reply_params),
        )
    return InboundOut(
        user_id=user_id,
        repeat=result.novelty is Novelty.REPEAT,
        novelty=result.novelty.value,
        transition=move
        and TransitionOut(from_state=move.from_state, to_state=move.to_state, trigger=move.trigger),
        preference=result.preference.value if result.preference else None,
        reply=reply,
        cancelled=result.cancelled,
    )


@api.post(
    "/leases",
    auth=Bearer(ApiScope.SEND),
    tags=["send"],
    response={200: LeasesOut, **ERRORS},
    operation_id="lease_messages",
    summary="Lease messages to send",
)
def lease(request: HttpRequest, data: LeaseIn) -> LeasesOut:
    """Claim due messages. Send each of them once, between `send_at` and `expires_at`, and report the outcome.

    Asked again with the same `request_id`, it returns those of the first time that are still leased.
    A message whose lease expires becomes `unknown`; it is not leased again by itself.
    """
    leased = lease_messages(
        client=_client(request),
        request_id=data.request_id,
        limit=data.limit,
        length=timedelta(seconds=data.seconds),
    )
    return LeasesOut(
        leases=[_lease(each) for each in leased.leases],
        paused_until=leased.paused.until if leased.paused else None,
        pause_reason=leased.paused.reason if leased.paused else None,
    )


def _client(request: HttpRequest) -> str:
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja
    return token.client


def _lease(each: Lease) -> LeaseOut:
    message = each.message
    return LeaseOut(
        message_id=message.message_id,
        attempt_id=message.attempt_id,
        user_id=message.user_id,
        to=message.to,
        type=message.message_type,
        key=message.message_key,
        params=dict(message.params),
        language=message.language,
        text=message.text,
        callback_data=message.callback_data,
        send_at=each.send_at,
        expires_at=each.expires_at,
        repeat=each.is_repeat,
    )


@api.post(
    "/leases/{message_id}/extension",
    auth=Bearer(ApiScope.SEND),
    tags=["send"],
    response={200: ExtensionOut, **ERRORS, **CONFLICT},
    operation_id="extend_lease",
    summary="Extend a lease",
)
def extend(request: HttpRequest, message_id: UUID, data: ExtensionIn) -> ExtensionOut:
    """Let a lease last longer: at most 15 minutes in all, and not beyond the user's sending hours."""
    expires_at = extend_lease(
        client=_client(request),
        message_id=message_id,
        attempt_id=data.attempt_id,
        length=timedelta(seconds=data.seconds),
    )
    return ExtensionOut(expires_at=expires_at)


@api.post(
    "/leases/{message_id}/outcome",
    auth=Bearer(ApiScope.SEND),
    tags=["send"],
    response={200: OutcomeOut, **ERRORS, **CONFLICT},
    operation_id="report_outcome",
    summary="Report how an attempt ended",
)
def outcome(request: HttpRequest, message_id: UUID, data: OutcomeIn) -> OutcomeOut:
    """Record that a message was accepted, refused or perhaps sent; also after its lease has expired."""
    ending = report_outcome(
        client=_client(request), message_id=message_id, attempt_id=data.attempt_id, result=data.result()
    )
    return OutcomeOut(message_id=message_id, ending=ending.value)


@api.post(
    "/receipts",
    auth=Bearer(ApiScope.RECEIPTS),
    tags=["receipts"],
    response={200: ReceiptOut, **ERRORS},
    operation_id="report_receipt",
    summary="Report a receipt of a sent message",
)
def receipt(request: HttpRequest, data: ReceiptIn) -> ReceiptOut:  # noqa: ARG001  ninja's
    """Record a receipt. They may be repeated and come in any order."""
    message_id, attempt_id = callback_ids(data.callback_data) or (None, None)
    effect = take_receipt(
        Receipt(
            kind=data.kind,
            occurred_at=data.occurred_at,
            message_id=message_id,
            attempt_id=attempt_id,
            provider_message_id=data.provider_message_id,
            refusal=None if data.code is None else refusal_of(data.code),
        ),
        now=timezone.now(),
    )
    return ReceiptOut(effect=effect.value)


@api.get(
    "/users/{user_id}/explanation",
    auth=Bearer(ApiScope.EXPLAIN),
    tags=["explain"],
    response={200: dict[str, Any], **ERRORS},
    operation_id="explain_user",
    summary="Why a user did, or did not, get a goodbye",
)
def explanation(request: HttpRequest, user_id: UUID) -> dict[str, object]:  # noqa: ARG001  ninja's
    """The state of a user, the next step, the history and the messages, as `explain_engagement --json`."""
    return explain_user(user_id=user_id, now=timezone.now()).as_json()


@api.post(
    "/users/{user_id}/opt-out",
    auth=Bearer(ApiScope.PREFERENCES),
    tags=["preferences"],
    response={200: PreferenceOut, **ERRORS},
    operation_id="opt_out",
    summary="Send a user no messages that they did not ask for",
)
def opt_user_out(request: HttpRequest, user_id: UUID) -> PreferenceOut:  # noqa: ARG001  ninja's
    """Opt a user out, and cancel their pending messages of this kind. Repeatable."""
    return _set_preference(user_id, opted_out=True)


@api.post(
    "/users/{user_id}/opt-in",
    auth=Bearer(ApiScope.PREFERENCES),
    tags=["preferences"],
    response={200: PreferenceOut, **ERRORS},
    operation_id="opt_in",
    summary="Allow a user's messages again",
)
def opt_user_in(request: HttpRequest, user_id: UUID) -> PreferenceOut:  # noqa: ARG001  ninja's
    """Opt a user in. Cancelled messages stay cancelled. Repeatable."""
    return _set_preference(user_id, opted_out=False)


def _set_preference(user_id: UUID, *, opted_out: bool) -> PreferenceOut:
    made = (opt_out if opted_out else opt_in)(user_id=user_id, now=timezone.now())
    return PreferenceOut(user_id=user_id, opted_out=opted_out, cancelled=made.cancelled)
