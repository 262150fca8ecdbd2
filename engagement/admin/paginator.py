"""Pages of a long table, of which nobody reads more than the first few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.db.models import QuerySet

    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

COUNTED: Final = 10_000
"""To here pages reach; counting a million rows would take longer than all the rest of the page."""


class BoundedPaginator(AnyPaginator):
    """Counts no further than COUNTED. Who looks for something behind that has filters and the search."""

    template_name = "engagement/pagination.html"

    @cached_property
    def count_text(self) -> int:
        """How many rows there are, or one more than COUNTED."""
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[: COUNTED + 1].count()

    @property
    def count(self) -> int:
        """How many rows the pages hold."""
        return min(self.count_text, COUNTED)

    @property
    def has_more(self) -> bool:
        """Whether there are rows that no page holds."""
        return self.count_text > COUNTED
