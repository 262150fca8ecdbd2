"""Lists as CSV: a stream of rows, read in chunks."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from html import unescape
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db.models import Q
from django.utils.html import strip_tags
from django.utils.safestring import SafeString

from engagement.local_times import ShownTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from django.db.models import QuerySet

CHUNK_SIZE: Final = 2000
"""Rows in memory at a time."""

FORMULA_BEGINS: Final = re.compile(
    r"(?:^|(?<=[;\t\r\n]))(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b])|^(?=[\t\r\n])"
)
"""Where a spreadsheet would begin to read a formula. In some countries a semicolon begins a new cell, and
full-width and small signs count as their ordinary ones."""
BYTE_ORDER_MARK: Final = "\ufeff"
"""Without it Excel reads the file in another encoding."""


class ExportColumn(NamedTuple):
    """A column of the file."""

    title: str
    value: Callable[[Any], object]


def csv_chunks(columns: Sequence[ExportColumn], chunks: Iterable[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    """The file in pieces, each with the number of its rows. The first has the titles."""
    titles = [[column.title for column in columns]]
    yield BYTE_ORDER_MARK + _written(titles), 0
    for rows in chunks:
        yield _written([[cell(column.value(row)) for column in columns] for row in rows]), len(rows)


def in_chunks(rows: QuerySet[Any], *, order: Sequence[str], size: int = CHUNK_SIZE) -> Iterator[list[Any]]:
    """All rows, the last first by `order`: one column, or two of which the second is unique.

    Each chunk is a statement of its own that begins where the last chunk ended. So no transaction and no
    cursor stays open while the reader waits, and it works behind a pooler. A row that comes meanwhile may
    be missing; no row comes twice, because the columns of `order` never change.
    """
    ordered = rows.order_by(*(f"-{column}" for column in order))
    chunk = list(ordered[:size])
    while chunk:
        yield chunk
        chunk = list(ordered.filter(_after(chunk[-1], order))[:size]) if len(chunk) == size else []


def _after(row: Any, order: Sequence[str]) -> Q:
    first, *rest = order
    if not rest:
        return Q(**{f"{first}__lt": getattr(row, first)})
    # The index can start from the first condition alone.
    at = getattr(row, first)
    is_later = Q(**{f"{first}__lt": at}) | Q(**{f"{rest[0]}__lt": getattr(row, rest[0])})
    return Q(**{f"{first}__lte": at}) & is_later


def cell(value: object) -> str:
    """A value as text that no spreadsheet takes for a formula. Times are in UTC."""
    if isinstance(value, ShownTime):
        value = value.instant
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    return FORMULA_BEGINS.sub("'", plain_text(str(value)))


def plain_text(text: str) -> str:
    """HTML without its tags. A text that is not marked as HTML may contain what looks like one."""
    return unescape(strip_tags(text)) if isinstance(text, SafeString) else text


def _written(lines: Iterable[Iterable[str]]) -> str:
    text = StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()
