"""`/healthz` and `/readyz`: whether this process answers, and whether it can do its work."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import JsonResponse

from engagement.services.resilience.deadline import request_deadline
from engagement.services.resilience.errors import ErrorKind, error_kind, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

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
    with request_deadline():
        problem = _problem()
    if problem:
        answer = {"status": "not ready", "reason": problem}
        return JsonResponse(answer, status=HTTPStatus.SERVICE_UNAVAILABLE)
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
