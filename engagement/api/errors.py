"""Errors of the HTTP API: one JSON body, `{"error": {"code": …, "message": …}}`, with one sentence."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.core.exceptions import ImproperlyConfigured, RequestDataTooBig
from django.db import Error as DatabaseError
from django.http import JsonResponse
from ninja.errors import HttpError, Throttled, ValidationError

from engagement.services.delivery.leases import NoLease
from engagement.services.explanation import UnknownUser
from engagement.services.preferences import UserProfileNotFound
from engagement.services.resilience.errors import ErrorKind, error_kind, first_line
from engagement.services.state_machine import EngagementStateNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse
    from ninja import NinjaAPI

RETRY_AFTER: Final = {"Retry-After": "5"}

log = structlog.get_logger("engagement")


class ApiError(Exception):
    """The request cannot be carried out; says why, and what to do."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


UNKNOWN_USER: Final = (
    HTTPStatus.NOT_FOUND,
    "unknown_user",
    "There is no such user; add a row to user_profiles first.",
)
ANSWERS: Final[Mapping[type[Exception], tuple[HTTPStatus, str, str]]] = {
    **dict.fromkeys((UnknownUser, EngagementStateNotFound, UserProfileNotFound), UNKNOWN_USER),
    NoLease: (
        HTTPStatus.CONFLICT,
        "no_lease",
        "The message is not leased in this attempt, or not any more.",
    ),
    RequestDataTooBig: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "The body is too large."),
}
"""What the services and Django raise, as an answer."""


def answer(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"error": {"code": code, "message": message}}, status=status, headers=headers)


def add_handlers(api: NinjaAPI) -> None:
    """Answer every error of the API in this form."""
    for kind in (ValidationError, HttpError, Exception):
        api.add_exception_handler(kind, _answer_to)


def _answer_to(_request: HttpRequest, error: Any) -> HttpResponse:
    if known := ANSWERS.get(type(error)):
        return answer(*known)
    match error:
        case ApiError():
            return answer(error.status, error.code, error.message)
        case ValidationError():
            return _invalid(error)
        case Throttled():
            return _throttled(error)
        case HttpError():
            return _http_error(error)
    return _unexpected(error)


def _invalid(error: ValidationError) -> HttpResponse:
    first: dict[str, Any] = error.errors[0]
    path = ".".join(str(part) for part in first["loc"] if part != "data")
    reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{path}: {reason}.")


def _throttled(error: Throttled) -> HttpResponse:
    seconds = str(max(int(error.wait or 1), 1))
    return answer(
        HTTPStatus.TOO_MANY_REQUESTS,
        "throttled",
        f"Too many requests with this token; wait {seconds} s.",
        headers={"Retry-After": seconds},
    )


def _http_error(error: HttpError) -> HttpResponse:
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return answer(
            HTTPStatus.UNAUTHORIZED,
            "unauthorized",
            "Send a valid token: Authorization: Bearer eng_….",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer(HTTPStatus.BAD_REQUEST, "no_json", "The body must be a JSON object.")
    return answer(error.status_code, "error", f"{error.message.rstrip('.')}.")


def _unexpected(error: Exception) -> HttpResponse:
    if isinstance(error, DatabaseError) and error_kind(error) in {ErrorKind.OUTAGE, ErrorKind.CONFLICT}:
        log.warning("engagement_api_database_away", error=first_line(error))
        return answer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "database_away",
            "The database is not available; send the request again.",
            headers=RETRY_AFTER,
        )
    is_setting = isinstance(error, ImproperlyConfigured)
    if is_setting or (isinstance(error, DatabaseError) and error_kind(error) is ErrorKind.CONFIGURATION):
        log.error("engagement_api_misconfigured", error=str(error) if is_setting else first_line(error))
        return answer(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "misconfigured",
            "A setting or a privilege is wrong: see the log.",
        )
    # By its type: its text may hold a number or a message.
    log.error("engagement_api_crashed", error=type(error).__name__)
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "An unexpected error: see the log.")
