"""What every list shares: read-only rows, search by user, an order with an index, bounded pages, CSV."""

from __future__ import annotations

import csv
import re
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import label_for_field, lookup_field
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.html import strip_tags
from unfold.admin import ModelAdmin
from unfold.views import ChangeList as ThemeChangeList

from engagement.admin.filters import filter_summary, now_of
from engagement.admin.masking import column, may_see_contacts
from engagement.formatting import count_text
from engagement.selectors.user_search import MAX_FOUND, users_with_address

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

MAX_CHOSEN: Final = 50
"""Rows of one page and of one action. Most actions cost a transaction per row."""
MAX_COUNTED: Final = 10_000
"""Rows that the pages of a list reach. Counting a million would take longer than the rest of the page."""

NOT_IN_LIST: Final = "Nothing was done: the selected rows are no longer in this list."
TOO_MANY_CHOSEN: Final = f"Nothing was done: select at most {MAX_CHOSEN} rows at a time."
NO_SEARCH_BY_NUMBER: Final = "You don't have permission to search by phone number. Enter a full user ID."
TOO_MANY_FOUND: Final = (
    f"More than {MAX_FOUND} numbers are like this. Only {MAX_FOUND} users were searched:"
    " enter more digits to find the others."
)

FORMULA_BEGINS: Final = re.compile(
    r"(?:^|(?<=[;\t\r\n]))(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])"
)
"""Where a spreadsheet would begin to read a formula. In some countries a semicolon begins a new cell, and
full-width signs count as their narrow ones."""
BYTE_ORDER_MARK: Final = "\ufeff"


class BoundedPaginator(AnyPaginator):
    """Counts up to MAX_COUNTED rows."""

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

    @property
    def has_more(self) -> bool:
        """Whether rows are left out."""
        return self.counted > MAX_COUNTED


class OrderedChangeList(ThemeChangeList):
    """Ignores the order in the URL. `sortable_by` removes only the links."""

    def get_ordering_field(self, field_name: Any) -> None:  # noqa: ARG002  Django's interface
        return None


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows. Only the support actions change anything, and they call the services."""

    list_per_page = list_max_show_all = MAX_CHOSEN
    paginator = BoundedPaginator
    show_full_result_count = False
    # Counts beside the filters, and an order without an index, would read the whole table.
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    list_filter_submit = True
    list_disable_select_all = True
    list_fullwidth = True
    extra_lookups: ClassVar[tuple[str, ...]] = ("user__exact",)
    """Lookups that the URL of a list may have beside its filters."""
    list_before_template = "engagement/above_list.html"
    user_column = "user_id"
    counted_as = ""
    """What the rows are called in the count, unless it is the name of the model."""
    lines: Sequence[str] = ()
    """Fields of a row's page."""
    masked_lines: Sequence[tuple[str, Callable[..., str]]] = ()
    """Fields that may contain an address, each with the function that shows it."""
    timed_columns: Sequence[str] = ()
    """Columns and lines that depend on the current time: methods that take `now`."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:  # noqa: ARG002
        masked = [column(name, show, request=request) for name, show in self.masked_lines]
        return [*self._with_now(request, self.lines), *masked]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._with_now(request, super().get_list_display(request))

    def _with_now(self, request: HttpRequest, columns: Iterable[Any]) -> list[Any]:
        """The columns. Those that depend on the time get the time of the request."""
        now = now_of(request)
        return [
            _with_time(getattr(self, name), now) if name in self.timed_columns else name for name in columns
        ]

    def get_actions(self, request: HttpRequest, action_location: object = None) -> dict[str, Any]:
        # Since 6.1 Django asks for the actions of a row's page as well. Our pages have buttons.
        is_of_page = getattr(action_location, "name", "") == "CHANGE_FORM"
        return {} if is_of_page else self.list_actions(request)

    def list_actions(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002
        """Actions on selected rows: function, name and label by name, as Django expects them."""
        return {"download": (_download, "download", "Download as CSV")}

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], **more: Any
    ) -> HttpResponse | None:
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest from error
        return super().response_action(request, queryset, **more)

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # PostgreSQL cannot store a zero character.
        if "\0" in value:
            return False
        # Django allows lookups on every column. Lookups on an address would reveal it digit by digit.
        if lookup in self.extra_lookups:
            return True
        filters = self.get_list_filter(request)
        names = [item[0] if isinstance(item, tuple) else item.parameter_name for item in filters]
        return any(lookup in {name, f"{name}_from", f"{name}_to", f"{name}__exact"} for name in names)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the users found by id or address. Both searches use an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(**{f"{self.user_column}__in": self._found_users(request, term)}), False

    def _found_users(self, request: HttpRequest, term: str) -> Collection[UUID]:
        """Find users, and leave a note for the reader of the list where the search was limited."""
        try:
            return [UUID(term)]
        except ValueError:
            if not may_see_contacts(request):
                vars(request)["search_note"] = NO_SEARCH_BY_NUMBER
                return ()
        found = users_with_address(term)
        vars(request)["search_note"] = TOO_MANY_FOUND if found.has_more else ""
        return found.user_ids

    def search_help(self, request: HttpRequest) -> str:
        """What the staff account may search for."""
        return "User ID, or beginning or end of a WhatsApp number" if may_see_contacts(request) else "User ID"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return OrderedChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        changelist.search_help_text = self.search_help(request)
        changelist.order_help = self.order_help(request)
        summary = filter_summary(changelist, extra_lookups=self.extra_lookups)
        changelist.notes = [summary, vars(request).get("search_note", "")]
        noun = self.counted_as or str(self.opts.verbose_name)
        changelist.count_in_words = count_text(changelist.result_count, noun)
        # Otherwise the theme offers to show all rows on one page.
        changelist.full_result_count = changelist.result_count
        return changelist

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        """The order of the rows."""
        return "Newest first."

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # Support actions are in the history of the user. The history page of another row would be empty.
        context["show_history"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
        """The selected rows. None, with a message, if there are too many or all have left the list."""
        chosen = list(rows[: MAX_CHOSEN + 1])
        if not chosen:
            # A row that changes can leave a filtered list before the action is confirmed.
            self.message_user(request, NOT_IN_LIST, messages.WARNING)
        if len(chosen) <= MAX_CHOSEN:
            return chosen
        self.message_user(request, TOO_MANY_CHOSEN, messages.ERROR)
        return []

    def as_csv(self, request: HttpRequest, rows: Iterable[Any]) -> HttpResponse:
        """The rows with the columns that the list shows to this staff account."""
        response = HttpResponse(
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{self.opts.verbose_name_plural}.csv"'},
        )
        columns = [column for column in self.get_list_display(request) if column != "action_checkbox"]
        # Without it Excel reads the file in another encoding.
        response.write(BYTE_ORDER_MARK)
        writer = csv.writer(response)
        writer.writerow(label_for_field(column, self.model, self) for column in columns)
        writer.writerows([_cell(lookup_field(column, row, self)[2]) for column in columns] for row in rows)
        return response


def _with_time(method: Callable[..., Any], now: datetime) -> Callable[[Any], Any]:
    @wraps(method)
    def shown(row: Any) -> Any:
        return method(row, now=now)

    return shown


def _download(model_admin: ReadOnlyAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
    chosen = model_admin.chosen(request, rows)
    return model_admin.as_csv(request, chosen) if chosen else None


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = "" if value is None else strip_tags(str(value))
    return FORMULA_BEGINS.sub("'", text)
