"""No request waits for ever for a database that does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.conf import statement_timeout
from engagement.services.resilience.deadline import statement_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


class DeadlineMiddleware:
    """Gives each statement of a request ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS; a server has few threads."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with statement_deadline(statement_timeout(), only_statements=True):
            return self._get_response(request)
