"""The bodies of requests: read also if they were sent in chunks, and parsed as JSON."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.http import HttpResponse
from ninja.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest


NO_LENGTH: Final = "Send the body with its Content-Length, not in chunks."


def parsed(content: bytes) -> Any:
    """What the JSON says, with U+FFFD for a surrogate without its other half.

    Programs cut texts at a number of UTF-16 units, in the middle of an emoji. Such a text must not be lost.
    Raises ValueError, or RecursionError, for what is no JSON.
    """
    said = json.dumps(json.loads(content), ensure_ascii=False)
    return json.loads(said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


class BodyParser(Parser):
    """Parses the bodies of requests to the API."""

    def parse_body(self, request: HttpRequest) -> Any:
        return parsed(request.body)


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
