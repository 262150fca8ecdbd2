"""The bodies of requests, parsed as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ninja.parser import Parser

if TYPE_CHECKING:
    from django.http import HttpRequest


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
