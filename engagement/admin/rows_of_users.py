"""A list of rows that belong to one user each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from engagement.admin.export import ExportColumn
from engagement.admin.masking import may_see_contacts, shown_address
from engagement.admin.people.names import name_of_user, person_column, remember_addresses
from engagement.admin.read_only_admin import ReadOnlyAdmin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse


class RowsOfUsersAdmin(ReadOnlyAdmin):
    """The user of each row is named and linked."""

    search_fields = ("user__user_id__exact",)
    # Our ids are ordered by time. An index on `created_at` would slow the job down.
    ordering: Sequence[str] = ("-id",)
    export_order: Sequence[str] = ("id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the users found, and the row with this id."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        try:
            return found | queryset.filter(pk=UUID(search_term.strip())), may_repeat
        except ValueError:
            return found, may_repeat

    def search_help(self, request: HttpRequest) -> str:
        help_text, kind = super().search_help(request), self.opts.verbose_name
        return _("%(help)s, or %(kind)s ID") % {"help": help_text, "kind": kind}

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:  # noqa: ARG002
        if rows:
            remember_addresses(rows)

    def shown_column(self, request: HttpRequest, name: Any) -> Any:
        return person_column(request) if name == "user_link" else super().shown_column(request, name)

    def user_columns(self, request: HttpRequest) -> list[ExportColumn]:
        """The user of a row, for the CSV."""
        unmasked = may_see_contacts(request)
        return [
            ExportColumn(_("user ID"), lambda row: row.user_id),
            ExportColumn("WhatsApp", lambda row: shown_address(row.address_of_user, unmasked=unmasked)),
        ]

    def row_name(self, request: HttpRequest, row: Any) -> str:
        """What a row is called in titles: kind and user."""
        name = name_of_user(row, unmasked=may_see_contacts(request))
        return _("%(kind)s of %(name)s") % {"kind": capfirst(self.opts.verbose_name), "name": name}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        name = self.row_name(request, context["original"])
        context |= {"title": name, "subtitle": None}
        context["original"].shown_name = name
        return super().render_change_form(request, context, *args, **kwargs)
