"""A list of rows that belong to one user each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from engagement.admin.export import ExportColumn
from engagement.admin.masking import may_see_contacts, shown_address
from engagement.admin.people.names import person_link, person_name
from engagement.admin.read_only_admin import ReadOnlyAdmin, reader_of
from engagement.selectors.people import addresses_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest


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

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:
        super().prepare(request, rows)
        addresses = addresses_of({row.user_id for row in rows}) if rows else {}
        for row in rows:
            row.address_of_user = addresses.get(row.user_id)

    @display(description=gettext_lazy("user"))
    def user_link(self, row: Any) -> str:
        visibility = reader_of(row).visibility
        return person_link(row.user_id, row.address_of_user, visibility=visibility)

    def user_name(self, row: Any) -> str:
        """The name of the user of the row."""
        unmasked = reader_of(row).unmasked
        return person_name(row.user_id, row.address_of_user, unmasked=unmasked)

    def user_columns(self, request: HttpRequest) -> list[ExportColumn]:
        """The user of a row, for the CSV."""
        unmasked = may_see_contacts(request)
        return [
            ExportColumn(_("user ID"), lambda row: row.user_id),
            ExportColumn("WhatsApp", lambda row: shown_address(row.address_of_user, unmasked=unmasked)),
        ]

    def row_name(self, row: Any) -> str:
        """What a row is called in titles: kind and user."""
        return _("%(kind)s of %(name)s") % {
            "kind": capfirst(self.opts.verbose_name),
            "name": self.user_name(row),
        }
