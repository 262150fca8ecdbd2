"""What all lists have in common: read only, searched by user, fast with many rows."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.views import ChangeList as ThemeChangeList

from engagement.admin.export import as_csv
from engagement.admin.filter_summary import filters_in_words
from engagement.admin.masking import column, may_see_contacts
from engagement.admin.paginator import BoundedPaginator
from engagement.admin.search import BY_ID, BY_ID_OR_ADDRESS, find_users
from engagement.formatting import count_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

CHOSEN_AT_MOST: Final = 50
"""Rows for one action, and of one page: somebody should have read them, and most actions cost a transaction
each."""

GONE: Final = "Nothing was done: what you chose is no longer in this list."


class OrderedChangeList(ThemeChangeList):
    """A list in its own order, whatever its address asks for: `sortable_by` takes away the links alone."""

    def get_ordering_field(self, field_name: Any) -> None:  # noqa: ARG002  Django's interface
        return None


class ReadOnlyAdmin(ModelAdmin):
    """To look at. What may be done by hand is done by actions, and they call the services."""

    list_per_page = list_max_show_all = CHOSEN_AT_MOST
    paginator = BoundedPaginator
    show_full_result_count = False
    # Counts beside the filters, and an order without an index, would read the whole table.
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    list_filter_submit = True
    list_disable_select_all = True
    list_fullwidth = True
    # What may be asked for by hand in the address of a list, beside its filters: not an address.
    may_be_asked: ClassVar[tuple[str, ...]] = ("user__exact",)
    list_before_template = "engagement/above_list.html"
    user_column = "user_id"
    counted_as = ""
    """What the rows stand for, unless for what they are called."""
    lines: Sequence[str] = ()
    """Of a row's page."""
    guarded_lines: Sequence[tuple[str, Callable[..., str]]] = ()
    """Columns that may hold an address, and how each is shown."""
    timed_columns: Sequence[str] = ()
    """What depends on the time of day, in the list or on the page: methods that take `now`."""

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:  # noqa: ARG002
        guarded = [column(name, show, request=request) for name, show in self.guarded_lines]
        return [*self._timed(request, self.lines), *guarded]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.get_fields(request, obj)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._timed(request, super().get_list_display(request))

    def _timed(self, request: HttpRequest, columns: Iterable[Any]) -> list[Any]:
        """The columns, with one answer for all rows to what time it is."""
        now = moment_of(request)
        return [_at(now, getattr(self, name)) if name in self.timed_columns else name for name in columns]

    def get_actions(self, request: HttpRequest, action_location: object = None) -> dict[str, Any]:
        # From 6.1 on Django asks for those of a row's page, too; ours has buttons.
        is_of_page = getattr(action_location, "name", "") == "CHANGE_FORM"
        return {} if is_of_page else self.list_actions(request)

    def list_actions(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002
        """What can be done with chosen rows, as Django wants it: function, name and label by name."""
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
        # No text in PostgreSQL holds it.
        if "\0" in value:
            return False
        # Django lets people filter by any column of the table; digit by digit that gives an address away.
        if lookup in self.may_be_asked:
            return True
        filters = self.get_list_filter(request)
        names = [item[0] if isinstance(item, tuple) else item.parameter_name for item in filters]
        return any(lookup in {name, f"{name}_from", f"{name}_to", f"{name}__exact"} for name in names)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the users who were found, and a note for the person who reads the list."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = find_users(term, by_address=may_see_contacts(request))
        vars(request)["note_on_search"] = found.note
        return queryset.filter(**{f"{self.user_column}__in": found.user_ids}), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return OrderedChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        changelist.search_help_text = self.search_help(request)
        changelist.order_help = self.order_help(request)
        filtered = filters_in_words(changelist, also=self.may_be_asked)
        changelist.notes = [filtered, vars(request).get("note_on_search", "")]
        noun = self.counted_as or str(self.opts.verbose_name)
        changelist.count_in_words = count_text(changelist.result_count, noun)
        # Or the theme offers to show all of them on one page.
        changelist.full_result_count = changelist.result_count
        return changelist

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # What is done by hand stands in the history of the user: a page of Django's would know of nothing.
        context["show_history"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        """In which order the rows stand."""
        return "The newest first."

    def search_help(self, request: HttpRequest) -> str:
        """What this person may search for."""
        return BY_ID_OR_ADDRESS if may_see_contacts(request) else BY_ID

    def chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
        """The rows of an action; none, and a sentence for the person, if they are too many or gone."""
        chosen = list(rows[: CHOSEN_AT_MOST + 1])
        if not chosen:
            # A row that changes may leave a filtered list between the choice and the answer.
            self.message_user(request, GONE, messages.WARNING)
        if len(chosen) <= CHOSEN_AT_MOST:
            return chosen
        sentence = f"Nothing was done: choose at most {CHOSEN_AT_MOST} rows at a time."
        self.message_user(request, sentence, messages.ERROR)
        return []


def moment_of(request: HttpRequest) -> datetime:
    """When the request was made: the clock is read once for all of it."""
    known = vars(request)
    if "engagement_moment" not in known:
        known["engagement_moment"] = timezone.now()
    return known["engagement_moment"]


def _at(now: datetime, method: Callable[..., Any]) -> Callable[[Any], Any]:
    @wraps(method)
    def shown(row: Any) -> Any:
        return method(row, now=now)

    return shown


def _download(model_admin: ReadOnlyAdmin, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
    chosen = model_admin.chosen(request, rows)
    return as_csv(model_admin, request, chosen) if chosen else None
