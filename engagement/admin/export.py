"""The export of a list as CSV: a button for everything that is filtered, an action for selected rows.

The file is a stream of rows, which are read in chunks.
"""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from functools import partial
from html import unescape
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Q
from django.http import HttpResponseRedirect, StreamingHttpResponse
from django.urls import path
from django.utils import translation
from django.utils.html import strip_tags
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin

from engagement.admin.admin_log import account_of, record_export
from engagement.admin.filters import filter_summary, now_of, unread_days
from engagement.local_times import ShownTime
from engagement.services.resilience.deadline import request_deadline
from engagement.services.resilience.retries import retry_outages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern

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


class ExportAdmin(ModelAdmin):
    """A list that can be exported."""

    export_order: Sequence[str] = ()
    """Columns that never change and have an index, the last one unique. Without them there is no export."""

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:
        """Read what the columns show beside the rows, in a constant number of statements."""

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        """The columns of the CSV: unless a list says otherwise, those that it shows to this staff account."""
        names = [name for name in self.get_list_display(request) if name != "action_checkbox"]
        return [
            ExportColumn(str(label_for_field(name, self.model, self)), partial(self._shown, name))
            for name in names
        ]

    def _shown(self, name: Any, row: Any) -> object:
        value: object = lookup_field(name, row, self)[2]
        return value

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        url = path("export/", self.admin_site.admin_view(self.export_view), name=name)
        return [url, *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All rows that the list has with the filters and the search of the URL."""
        if not (self.export_order and self.has_view_permission(request)):
            raise PermissionDenied
        back = f"../?{request.GET.urlencode()}"
        if request.method != "POST":
            # The login leads back to here, but without the form.
            return HttpResponseRedirect(back)
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            raise BadRequest from error
        if unread := unread_days(changelist):
            self.message_user(request, " ".join([_("Nothing was exported."), *unread]), messages.ERROR)
            return HttpResponseRedirect(back)
        chunks = in_chunks(changelist.queryset, order=self.export_order)
        search = f" Searched for {_without_number(changelist.query)}." if changelist.query else ""
        # The log has one language.
        with translation.override("en"):
            filters = plain_text(filter_summary(changelist, extra_lookups=self.extra_lookups))
        return self.export(request, chunks, filters=f"{filters}{search}".strip())

    def export(
        self, request: HttpRequest, chunks: Iterable[list[Any]], *, filters: str = ""
    ) -> StreamingHttpResponse:
        """The rows as a stream, and afterwards an entry in the logs."""
        now = now_of(request)
        pieces = csv_chunks(self.export_columns(request), self._prepared(request, chunks))
        record = partial(record_export, self.model, filters=filters, account=account_of(request), now=now)
        incomplete = _("This export is incomplete, because an error ended it. Export the list again.")
        name = f"{slugify(self.opts.verbose_name_plural)}-{now:%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(
            _recorded(pieces, record=record, incomplete=incomplete),
            content_type="text/csv; charset=utf-8",
            headers=headers,
        )

    def _prepared(self, request: HttpRequest, chunks: Iterable[list[Any]]) -> Iterator[list[Any]]:
        for rows in chunks:
            retry_outages(partial(self.prepare, request, rows))
            yield rows

    def export_label(self, changelist: Any) -> str:
        """What the button says; empty where there is nothing to export."""
        if not (self.export_order and changelist.result_count):
            return ""
        if changelist.paginator.has_more:
            return _("Export all as CSV")
        return _("Export all %(count)s as CSV") % {"count": changelist.count_in_words}


def _without_number(query: str) -> str:
    """The query if it is an ID. The masks of a list and seven digits that were searched for are a number."""
    try:
        return str(UUID(query.strip()))
    except ValueError:
        return "[hidden]"


def _recorded(
    pieces: Iterable[tuple[str, int]], *, record: Callable[..., None], incomplete: str
) -> Iterator[str]:
    """The pieces of a file; at its end, however it comes, `record` is called."""
    count, is_complete = 0, False
    with request_deadline():
        try:
            for text, rows in pieces:
                yield text
                count += rows
            is_complete = True
        except Exception:
            # A proxy may end a file that is cut off as if it were whole.
            yield _written([[incomplete]])
            raise
        finally:
            record(rows=count, is_complete=is_complete)


def csv_chunks(columns: Sequence[ExportColumn], chunks: Iterable[Sequence[Any]]) -> Iterator[tuple[str, int]]:
    """The file in pieces, each with the number of its rows. The first has the titles."""
    titles = [[column.title for column in columns]]
    yield BYTE_ORDER_MARK + _written(titles), 0
    for rows in chunks:
        yield _written([[cell(column.value(row)) for column in columns] for row in rows]), len(rows)


def in_chunks(rows: QuerySet[Any], *, order: Sequence[str], size: int = CHUNK_SIZE) -> Iterator[list[Any]]:
    """All rows, the last first by `order`: one column, or two of which the second is unique.

    Each chunk is a statement of its own that begins where the last chunk ended. So no transaction and no
    cursor stays open while the reader waits, and a pooler, or an outage, may end the session meanwhile. A row
    that comes meanwhile may be missing; no row comes twice, because the columns of `order` never change.
    """
    ordered = rows.order_by(*(f"-{column}" for column in order))
    chunk: list[Any] = retry_outages(partial(list, ordered[:size]))
    while chunk:
        yield chunk
        rest = ordered.filter(_after(chunk[-1], order))
        chunk = retry_outages(partial(list, rest[:size])) if len(chunk) == size else []


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
