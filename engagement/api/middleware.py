"""What requests pass before they reach a view: probes, JSON errors, deadlines, chunked bodies."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse, JsonResponse

from engagement.api.errors import answer
from engagement.services.resilience.deadline import request_deadline, statement_deadline
from engagement.services.resilience.errors import ErrorKind, error_kind, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

API_PATH: Final = "/api/"
NO_LENGTH: Final = "Send the body with its Content-Length, not in chunks."
_SENTENCES: Final = {
    HTTPStatus.LENGTH_REQUIRED: NO_LENGTH,
    HTTPStatus.NOT_FOUND: "There is no such path; /api/v1/docs lists them.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This path has other methods: see /api/v1/docs.",
}

log = structlog.get_logger("engagement")


class HealthMiddleware:
    """Answers probes before anything else: they come without TLS, and name the address of a pod."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return JsonResponse({"status": "ok"})
        if request.path == "/readyz":
            return _readiness()
        return self._get_response(request)


def _readiness() -> HttpResponse:
    # Each probe takes a thread, and the next one comes soon: a statement has the deadline's margin alone.
    with statement_deadline(timedelta()):
        problem = _problem()
    if problem:
        body = {"status": "not ready", "reason": problem}
        return JsonResponse(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse({"status": "ok"})


def _problem() -> str | None:
    """What keeps the process from its work. Without the database's host, user or name."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "Migrations are missing: run manage.py migrate."
    except DatabaseError as error:
        log.warning("engagement_not_ready", error=first_line(error))
        if error_kind(error) is ErrorKind.CONFIGURATION:
            return "The database user lacks a privilege, or a table is missing: see the log."
        return "The database is not available."
    return None


class JsonErrorsMiddleware:
    """Give errors that the API itself never sees, such as an unknown path, the same form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        is_error = response.status_code >= HTTPStatus.BAD_REQUEST
        if not (is_error and request.path.startswith(API_PATH)) or _is_json(response):
            return response
        status = HTTPStatus(response.status_code)
        message = _SENTENCES.get(status, f"{status.phrase}.")
        kept = {name: response[name] for name in ("Allow", "Retry-After") if name in response}
        return answer(status, status.name.lower(), message, headers=kept)


def _is_json(response: HttpResponse) -> bool:
    return response.get("Content-Type", "").startswith("application/json")


class DeadlineMiddleware:
    """Gives each statement of a request ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS; a stream has one of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_deadline():
            return self._get_response(request)


class ChunkedBodyMiddleware:
    """Read a body that was sent in chunks, without its length, which Django takes for an empty one.

    A body that is larger than DATA_UPLOAD_MAX_MEMORY_SIZE is refused as one with a length is. 400 for a body
    that ends early, 411 behind a server that does not mark the end of such a body.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if not (is_chunked and "wsgi.input" in request.META):
            return self._get_response(request)
        if not request.META.get("wsgi.input_terminated"):
            return _refused(HTTPStatus.LENGTH_REQUIRED, NO_LENGTH)
        limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            content = request.META["wsgi.input"].read(-1 if limit is None else limit + 1)
        except Exception:  # noqa: BLE001  each server has errors of its own for malformed chunks
            return _refused(HTTPStatus.BAD_REQUEST, "The body ended early, or its chunks are malformed.")
        request.META["CONTENT_LENGTH"] = str(len(content))
        if limit is None or len(content) <= limit:
            request._body = content  # noqa: SLF001  as Django keeps what it has read
        return self._get_response(request)


def _refused(status: HTTPStatus, sentence: str) -> HttpResponse:
    return HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
