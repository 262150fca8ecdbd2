"""The export of a list: a button for everything that is filtered, an action for selected rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponseRedirect, StreamingHttpResponse
from django.urls import path
from django.utils import translation
from django.utils.text import slugify
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin

from engagement.admin.admin_log import record_export
from engagement.admin.export import ExportColumn, csv_chunks, in_chunks, plain_text
from engagement.admin.filters import filter_summary, now_of
from engagement.privacy import redact
from engagement.services.resilience.deadline import request_deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern


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
        if request.method != "POST":
            # The login leads back to here, but without the form.
            return HttpResponseRedirect(f"../?{request.GET.urlencode()}")
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            raise BadRequest from error
        chunks = in_chunks(changelist.queryset, order=self.export_order)
        search = f" Searched for {redact(changelist.query)}." if changelist.query else ""
        # The log has one language.
        with translation.override("en"):
            filters = plain_text(filter_summary(changelist, extra_lookups=self.extra_lookups))
        return self.export(request, chunks, filters=f"{filters}{search}".strip())

    def export(
        self, request: HttpRequest, chunks: Iterable[list[Any]], *, filters: str = ""
    ) -> StreamingHttpResponse:
        """The rows as a stream, and afterwards an entry in the logs."""
        account, now = cast("AbstractBaseUser", request.user), now_of(request)
        columns = self.export_columns(request)

        def prepared() -> Iterator[list[Any]]:
            for rows in chunks:
                self.prepare(request, rows)
                yield rows

        def content() -> Iterator[str]:
            count, is_complete = 0, False
            try:
                with request_deadline():
                    for text, rows in csv_chunks(columns, prepared()):
                        yield text
                        count += rows
                is_complete = True
            finally:
                record_export(
                    self.model, rows=count, filters=filters, is_complete=is_complete, account=account, now=now
                )

        name = f"{slugify(self.opts.verbose_name_plural)}-{now:%Y-%m-%d}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(content(), content_type="text/csv; charset=utf-8", headers=headers)

    def export_label(self, changelist: Any) -> str:
        """What the button says; empty where there is nothing to export."""
        if not (self.export_order and changelist.result_count):
            return ""
        if changelist.paginator.has_more:
            return _("Export all as CSV")
        return _("Export all %(count)s as CSV") % {"count": changelist.count_in_words}
