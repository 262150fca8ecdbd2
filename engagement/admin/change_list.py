"""The rows of a list: orders that have an index, bounded pages, quick links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.core.paginator import Paginator
from django.utils.functional import cached_property
from django.utils.http import urlencode
from unfold.views import ChangeList as ThemeChangeList

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.db.models import QuerySet
    from django.http import HttpRequest

    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

MAX_COUNTED: Final = 10_000
"""Rows that the pages of a list reach. Counting a million would take longer than the rest of the page."""


class QuickLink(NamedTuple):
    """A link to the list with filters."""

    label: Any
    query: str
    is_active: bool


def quick_links_to(
    request: HttpRequest, queries: Iterable[tuple[object, Mapping[str, str]]]
) -> list[QuickLink]:
    """Links with these labels and filters. The one whose filters the list has is active."""
    other = {PAGE_VAR, ORDER_VAR, SEARCH_VAR, ERROR_FLAG}
    shown = {name: value for name, value in request.GET.items() if name not in other}
    return [QuickLink(label, f"?{urlencode(query)}", query == shown) for label, query in queries]


class BoundedPaginator(AnyPaginator):
    """Counts up to MAX_COUNTED rows. A page beyond the end is the last one."""

    template_name = "engagement/pagination.html"

    @cached_property
    def counted(self) -> int:
        """The number of rows, or MAX_COUNTED + 1."""
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[: MAX_COUNTED + 1].count()

    @property
    def count(self) -> int:
        """The number of rows on all pages."""
        return min(self.counted, MAX_COUNTED)

    def validate_number(self, number: Any) -> int:
        return max(1, min(int(number), self.num_pages))

    @property
    def has_more(self) -> bool:
        """Whether rows are left out."""
        return self.counted > MAX_COUNTED


class OrderedChangeList(ThemeChangeList):
    """Sorts by one of the columns that have an index, or else in the order of the list."""

    page_num: int

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Filters, and actions on its last rows, may have taken the page away.
        self.page_num = self.paginator.validate_number(self.page_num)

    def get_ordering_field(self, field_name: Any) -> Any:
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None

    def get_ordering_field_columns(self) -> dict[int, str]:
        return {index: "desc" if is_descending else "asc" for index, is_descending, _ in self._sorted_by()}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:  # noqa: ARG002
        for _index, is_descending, field in self._sorted_by():
            sign = "-" if is_descending else ""
            return [f"{sign}{field}", f"{sign}pk"]
        return list(self.model_admin.get_ordering(request))

    @property
    def sorted_by(self) -> str:
        """The field that the reader sorts by, if any."""
        return next((field for *_, field in self._sorted_by()), "")

    def _sorted_by(self) -> list[tuple[int, bool, str]]:
        """The chosen column as index, direction and field; an empty list without a valid choice."""
        found = re.fullmatch(r"(-?)(\d{1,2})", str(self.params.get(ORDER_VAR, "")).partition(".")[0])
        index = int(found[2]) if found else len(self.list_display)
        field = self.get_ordering_field(self.list_display[index]) if index < len(self.list_display) else None
        return [(index, found[1] == "-", field)] if found and field else []
