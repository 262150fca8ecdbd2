"""Keeps requests from waiting for ever for a database that does not answer: a server has few threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.services.resilience.deadline import request_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


class DeadlineMiddleware:
    """Gives each statement of a request ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS; a stream has one of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with request_deadline():
            return self._get_response(request)
