"""What every list shares: read-only rows, search by user, orders with an index, bounded pages, export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from engagement.admin import links
from engagement.admin.change_list import BoundedPaginator, OrderedChangeList
from engagement.admin.export import ExportAdmin
from engagement.admin.filters import filter_summary, now_of, unread_days, with_iso_days
from engagement.admin.masking import may_see_contacts, shown_text, visibility_for
from engagement.formatting import count_text
from engagement.local_times import shown_time
from engagement.selectors.user_search import MAX_FOUND, users_with_address

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

    from engagement.admin.change_list import QuickLink
    from engagement.admin.masking import Visibility

MAX_CHOSEN: Final = 50
"""Rows of one page and of one action. Most actions cost a transaction per row."""

NOT_IN_LIST: Final = _("Nothing was done: the selected rows are no longer in this list.")
TOO_MANY_CHOSEN: Final = _("Nothing was done: select at most %(limit)s rows at a time.")
INVALID_FILTERS: Final = _("The filters of this link are not valid: the list is not filtered.")
NO_SEARCH_BY_NUMBER: Final = _("You don't have permission to search by phone number. Enter a full user ID.")
TOO_MANY_FOUND: Final = _(
    "More than %(limit)s numbers are like this. Only %(limit)s users were searched:"
    " enter more digits to find the others."
)


class Reader(NamedTuple):
    """Who reads a row, and when."""

    visibility: Visibility
    now: datetime

    @property
    def unmasked(self) -> bool:
        return self.visibility.contacts


class ReadOnlyAdmin(ExportAdmin):
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
    no_match: Any = _("No results")
    """What an empty list says if it is filtered or searched."""
    not_found_title: Any = _("Page not found")
    not_found_sentence: Any = _("There is no such row, or it was deleted.")
    counted_as = ""
    """What the rows are called in the count, unless it is the name of the model."""

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:
        """Give each row its reader, and read what else is shown in a constant number of statements."""
        reader = Reader(visibility_for(request), now_of(request))
        for row in rows:
            row.reader = reader

    def row_name(self, row: Any) -> str:
        """What a row is called in titles and questions."""
        return str(row)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:  # noqa: ARG002
        """What the page of a row shows beside its fields."""
        return {}

    def get_actions(self, request: HttpRequest, action_location: object = None) -> dict[str, Any]:
        # Since 6.1 Django asks for the actions of a row's page as well. Our pages have buttons.
        is_of_page = getattr(action_location, "name", "") == "CHANGE_FORM"
        return {} if is_of_page else self.list_actions(request)

    def list_actions(self, request: HttpRequest) -> dict[str, Any]:  # noqa: ARG002
        """Actions on selected rows: function, name and label by name, as Django expects them."""
        return {"download": (_download, "download", _("Export selected rows as CSV"))}

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
        if not (term and self.search_fields):
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
        vars(request)["search_note"] = TOO_MANY_FOUND % {"limit": MAX_FOUND} if found.has_more else ""
        return found.user_ids

    def search_help(self, request: HttpRequest) -> str:
        """What the staff account may search for."""
        if may_see_contacts(request):
            return str(_("User ID, or beginning or end of a WhatsApp number"))
        return str(_("User ID"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method == "GET":
            # In another language, 02/03/2026 is another day. The address may be sent to somebody else.
            iso = with_iso_days(request.GET, self.get_list_filter(request))
            if iso != request.GET:
                return HttpResponseRedirect(f"?{iso.urlencode()}")
        return super().changelist_view(request, extra_context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return OrderedChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        self.prepare(request, changelist.result_list)
        changelist.search_help_text = self.search_help(request)
        changelist.order_help = self.order_help(request)
        summary = filter_summary(changelist, extra_lookups=self.extra_lookups)
        changelist.notes = [summary, *unread_days(changelist), vars(request).get("search_note", "")]
        if ERROR_FLAG in request.GET and not summary:
            changelist.notes.append(INVALID_FILTERS)
        changelist.quick_links = self.quick_links(request)
        noun = self.counted_as or self.opts.verbose_name_raw
        changelist.count_in_words = count_text(changelist.result_count, noun)
        changelist.export_label = self.export_label(changelist)
        changelist.export_url = f"export/?{request.GET.urlencode()}"
        # Otherwise the theme offers to show all rows on one page.
        changelist.full_result_count = changelist.result_count
        return changelist

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:  # noqa: FBT001, FBT002
        """With the help texts of the model's fields that columns show."""
        fields = {name: getattr(getattr(self, name, None), "of_field", None) for name in self.fields or ()}
        help_texts = {
            name: self.opts.get_field(field).help_text for name, field in fields.items() if field is not None
        }
        return super().get_form(request, obj, change, help_texts=help_texts, **options)

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        """The order of the rows."""
        return str(_("Newest first."))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        self.prepare(request, [row])
        row.shown_name = self.row_name(row)
        # Support actions are in the history of the user. The history page of another row would be empty.
        context |= {"title": row.shown_name, "subtitle": None, "show_history": False}
        context |= self.page_context(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(
        self,
        request: HttpRequest,  # noqa: ARG002  the admin's interface
        object_id: str,
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Lead to the list of manual actions, which shows them masked and translated."""
        return HttpResponseRedirect(links.manual_actions_on(object_id))

    def chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
        """The selected rows. None, with a message, if there are too many or all have left the list."""
        chosen = list(rows[: MAX_CHOSEN + 1])
        if not chosen:
            # A row that changes can leave a filtered list before the action is confirmed.
            self.message_user(request, str(NOT_IN_LIST), messages.WARNING)
        if len(chosen) <= MAX_CHOSEN:
            return chosen
        self.message_user(request, TOO_MANY_CHOSEN % {"limit": MAX_CHOSEN}, messages.ERROR)
        return []

    def quick_links(self, request: HttpRequest) -> list[QuickLink]:  # noqa: ARG002
        """Links above the list to filters that are used often."""
        return []

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> TemplateResponse:
        """Say that there is no such row, instead of the theme's jump to the dashboard."""
        context = {
            **self.admin_site.each_context(request),
            "title": self.not_found_title,
            "sentence": self.not_found_sentence,
            "row_id": object_id,
            "opts": opts,
            "list_url": reverse(f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_changelist"),
        }
        return TemplateResponse(request, "engagement/not_found.html", context, status=404)


def reader_of(row: Any) -> Reader:
    """The reader that `prepare` has given the row. A row without one cannot be shown: raises KeyError."""
    reader: Reader = vars(row)["reader"]
    return reader


def time_column(field: str, description: Any) -> Any:
    """A column with a time of the row, in the account's zone."""

    @display(description=description, ordering=field)
    def shown(_admin: ReadOnlyAdmin, row: Any) -> str | None:
        instant = getattr(row, field)
        return shown_time(instant) if instant else None

    shown.of_field = field
    return shown


def text_column(field: str, description: Any) -> Any:
    """A column with a text of another program."""

    @display(description=description)
    def shown(_admin: ReadOnlyAdmin, row: Any) -> str:
        return shown_text(getattr(row, field), unmasked=reader_of(row).unmasked)

    return shown


def _download(
    model_admin: ReadOnlyAdmin, request: HttpRequest, rows: QuerySet[Any]
) -> StreamingHttpResponse | None:
    chosen = model_admin.chosen(request, rows)
    return model_admin.export(request, [chosen], filters="Selected rows.") if chosen else None
