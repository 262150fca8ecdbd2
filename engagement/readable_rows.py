"""Pages are shown although a row holds a value that Python cannot hold.

PostgreSQL knows 'infinity', and years before 1 and after 9999; its JSON has numbers and nestings without
end; any program may write them. An error is raised where one is read, and a whole list would fail because
of one row. In the admin such a time is None, which its pages show as a dash or in words, and such JSON is
a sentence. Not elsewhere: the daily job names the user with whom that error leaves it, and no service may
take a time for missing that is there.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.urls import reverse
from psycopg import DataError
from psycopg.adapt import Loader
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest, HttpResponse
    from psycopg.abc import Buffer

DEEPEST_JSON: Final = 100
"""Lists and objects within each other. Somewhere behind that Python gives up, sooner in one place than in
another."""

UNREADABLE_JSON: Final = "(JSON that cannot be shown: a number in it is too long, or it is nested too deep.)"


class Lenient:
    """A loader that is made here."""


class LenientJSONLoader(Lenient, Loader):
    """Hands text on to Django, which parses it, unless it could not."""

    def load(self, data: Buffer) -> str:
        text = bytes(data)
        return text.decode() if _can_be_shown(text) else json.dumps(UNREADABLE_JSON)


class ReadableRowsMiddleware:
    """Reads so in the pages of the admin, their templates among them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(reverse("admin:index")):
            return self.get_response(request)
        with connection.execute_wrapper(_reads_what_it_can):
            return self.get_response(request)


@contextmanager
def every_value_is_read() -> Iterator[None]:
    """Raise the error again inside, for the services."""
    wrappers = connection.execute_wrappers
    connection.execute_wrappers = [wrapper for wrapper in wrappers if wrapper is not _reads_what_it_can]
    try:
        yield
    finally:
        connection.execute_wrappers = wrappers


def _reads_what_it_can(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,  # noqa: FBT001  as Django calls it
    context: dict[str, Any],
) -> Any:
    # Of this one cursor: a connection lives longer than a request.
    adapters = context["cursor"].adapters
    strict = adapters.get_loader(adapters.types["timestamptz"].oid, Format.TEXT)
    if not issubclass(strict, Lenient):
        adapters.register_loader("timestamptz", _lenient(strict))
        adapters.register_loader("jsonb", LenientJSONLoader)
    return execute(sql, params, many, context)


@cache
def _lenient(strict: type[Loader]) -> type[Loader]:
    """The loader of this connection, which knows its time zone, but for what it raises."""

    class LenientLoader(Lenient, strict):  # type: ignore[misc, valid-type]  # known at run time alone
        def load(self, data: Buffer) -> Any:
            try:
                return super().load(data)
            except DataError:
                return None

    return LenientLoader


def _can_be_shown(text: bytes) -> bool:
    try:
        layer = [json.loads(text)]
    except (ValueError, RecursionError):
        return False
    for _ in range(DEEPEST_JSON):
        if not layer:
            return True
        layer = [inner for outer in layer for inner in _inside(outer)]
    return False


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
