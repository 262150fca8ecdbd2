"""The list of users: the only one, with their states, goodbyes and last messages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.utils import timezone
from django.utils.html import format_html, strip_tags
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin import links
from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.change_list import OrderedChangeList, quick_links_to
from engagement.admin.export import ExportColumn
from engagement.admin.filters import CameBackFilter, DayRangeFilter, DueFilter, UsersMessageFilter, now_of
from engagement.admin.labels import STATE_COLORS, badge, moment, state_text
from engagement.admin.masking import may_see_contacts, shown_address, shown_text, visibility_for
from engagement.admin.people.goodbye_fate import fate_of_goodbye
from engagement.admin.people.names import person_name
from engagement.admin.people.user_page import user_page
from engagement.admin.read_only_admin import reader_of
from engagement.admin.support_actions import CANCEL_ALL, MARK_AS_ACTIVE, OPT_IN, OPT_OUT, RETRY
from engagement.models import EngagementMessage, MessageStatus, UserProfile
from engagement.selectors.people import latest_goodbyes
from engagement.selectors.user_search import has_history
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.action_views import SupportAction
    from engagement.admin.change_list import QuickLink
    from engagement.admin.people.goodbye_fate import Fate
    from engagement.admin.people.user_page import Page, ShownMessage
    from engagement.models import UserEngagementState

LAST_MESSAGE: Final = "engagement_state__last_activity_at"
LAST_MESSAGE_TITLE: Final = _("last message other than a reply")
BY_STATE: Final = "engagement_state__state__exact"
STATE_FILTERS: Final = (
    ("engagement_state__state", ChoicesCheckboxFilter),
    DueFilter,
    (LAST_MESSAGE, DayRangeFilter),
    ("engagement_state__goodbye_expires_at", DayRangeFilter),
    ("engagement_state__remind_at", DayRangeFilter),
)
WITHOUT_MESSAGES: Final = _("Sorted by last message: users who have not written yet are not in the list.")


class UserChangeList(OrderedChangeList):
    """Leaves out users without a state row where the list is sorted by it: its index does not have them."""

    def get_queryset(self, request: HttpRequest, *args: Any, **options: Any) -> QuerySet[Any]:
        users = super().get_queryset(request, *args, **options)
        return users.filter(engagement_state__isnull=False) if self.sorted_by == LAST_MESSAGE else users


@admin.register(UserProfile)
class UserProfileAdmin(SupportActionsAdmin):
    """Users, with a page for each."""

    list_select_related = ("engagement_state",)
    list_filter = (
        *STATE_FILTERS[:2],
        ("reengagement_opt_out", BooleanRadioFilter),
        ("opt_out_changed_at", DayRangeFilter),
        UsersMessageFilter,
        CameBackFilter,
        *STATE_FILTERS[2:],
        ("preferred_destination", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    search_fields = ("user_id__exact",)
    # The ids of other programs are not ordered by time.
    ordering = ("-created_at", "-user_id")
    export_order = ("created_at", "user_id")
    user_column = "pk"
    support_actions = (MARK_AS_ACTIVE, OPT_OUT, OPT_IN, CANCEL_ALL)
    fields = ("user_id",)
    change_form_template = "engagement/user.html"
    no_match = _("No users match.")
    not_found_title = _("No such user")
    not_found_sentence = _("There is no user with this ID: it is mistyped, or the user was erased.")

    def get_list_display(self, request: HttpRequest) -> list[str]:
        may = visibility_for(request)
        state = ["state_label"] if may.states else []
        goodbye = ["goodbye"] if may.messages else []
        last_message = ["last_message"] if may.states else []
        return ["person", *state, *goodbye, *last_message, "is_opted_out", "first_seen"]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        may = visibility_for(request)
        hidden = [
            *(() if may.states else STATE_FILTERS),
            *(() if may.messages else (UsersMessageFilter,)),
            *(() if may.states and may.transitions else (CameBackFilter,)),
        ]
        return [item for item in self.list_filter if item not in hidden]

    def get_sortable_by(self, request: HttpRequest) -> Sequence[str]:
        """By last message: all users, or those of one state. With other filters no index has the order."""
        others = request.GET.keys() - {BY_STATE, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR}
        has_order = len(request.GET.getlist(BY_STATE)) <= 1 and not others
        return ("first_seen", "last_message") if has_order else ("first_seen",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return UserChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist: Any = super().get_changelist_instance(request)
        if changelist.sorted_by:
            changelist.order_help = ""
        if changelist.sorted_by == LAST_MESSAGE:
            changelist.notes.append(WITHOUT_MESSAGES)
        return changelist

    def quick_links(self, request: HttpRequest) -> list[QuickLink]:
        return quick_links_to(request, _quick_filters(request))

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:
        super().prepare(request, rows)
        may_see = visibility_for(request).messages
        goodbyes = latest_goodbyes([row.pk for row in rows]) if may_see and rows else {}
        for row in rows:
            row.latest_goodbye = goodbyes.get(row.pk)

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        may, unmasked = visibility_for(request), may_see_contacts(request)
        states = [
            ExportColumn(str(_("state")), _state),
            ExportColumn(str(LAST_MESSAGE_TITLE), lambda user: _from_state(user, "last_activity_at")),
        ]
        goodbyes = [
            ExportColumn(str(_("goodbye")), lambda user: _fate_text(_fate(user))),
            ExportColumn(str(_("goodbye at")), lambda user: (_fate(user) or (None,))[-1]),
        ]
        return [
            ExportColumn(str(_("user ID")), lambda user: user.pk),
            ExportColumn("WhatsApp", lambda user: shown_address(user.whatsapp_jid, unmasked=unmasked)),
            *(states if may.states else ()),
            *(goodbyes if may.messages else ()),
            ExportColumn(str(_("opted out")), _opted_out),
            ExportColumn(str(_("opt-out changed")), lambda user: user.opt_out_changed_at),
            ExportColumn(str(_("locale")), lambda user: shown_text(user.locale, unmasked=unmasked)),
            ExportColumn(str(_("first seen")), lambda user: user.created_at),
        ]

    @display(description=_("user"))
    def person(self, profile: UserProfile) -> str:
        return format_html('<span title="{}">{}</span>', profile.pk, self.row_name(profile))

    @display(description=_("state"))
    def state_label(self, profile: UserProfile) -> str | None:
        state = _state_row(profile)
        if state is None:
            return None
        summary = strip_tags(state_text(state, now=reader_of(profile).now))
        return badge(State(state.state).label, STATE_COLORS[state.state], title=summary)

    @display(description=_("goodbye"))
    def goodbye(self, profile: UserProfile) -> str | None:
        fate = _fate(profile)
        if fate is None:
            return None
        at = moment(fate.at, now=reader_of(profile).now) if fate.at else ""
        return format_html("{} {}", badge(fate.text, fate.color), at)

    @display(description=LAST_MESSAGE_TITLE, ordering=LAST_MESSAGE)
    def last_message(self, profile: UserProfile) -> str | None:
        state = _state_row(profile)
        return moment(state.last_activity_at, now=reader_of(profile).now) if state else None

    @display(description=_("opted out"))
    def is_opted_out(self, profile: UserProfile) -> str:
        return badge(_("opted out"), "warning") if profile.reengagement_opt_out else str(_("no"))

    @display(description=_("first seen"), ordering="created_at")
    def first_seen(self, profile: UserProfile) -> str:
        return moment(profile.created_at, now=reader_of(profile).now)

    def row_name(self, row: UserProfile) -> str:
        return person_name(row.pk, row.whatsapp_jid, unmasked=reader_of(row).unmasked)

    def row_state(self, row: UserProfile) -> str:
        state = _state_row(row) if reader_of(row).visibility.states else None
        return str(State(state.state).label) if state else ""

    def user_id_of(self, row: UserProfile) -> UUID:
        return row.pk

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The user. Without a profile, but with history: an object that is not stored."""
        if profile := super().get_object(request, object_id, from_field):
            return profile
        try:
            user_id = UUID(object_id)
        except ValueError:
            return None
        return UserProfile(user_id=user_id) if has_history(user_id) else None

    def page_context(self, request: HttpRequest, row: UserProfile) -> dict[str, Any]:
        is_stored = not row._state.adding  # noqa: SLF001  documented by Django
        visibility, now = reader_of(row)
        page = user_page(row if is_stored else None, user_id=row.pk, now=now, visibility=visibility)
        useful = _useful_actions(row, page) if is_stored else ()
        message_admin = self.admin_site.get_model_admin(EngagementMessage)
        return {
            "page": page,
            "title": _("User %(name)s") % {"name": self.row_name(row)},
            "buttons": self.buttons(request, row, useful=useful),
            "message_items": [
                (
                    message,
                    message_admin.buttons(request, message.row, useful=_useful_for(message, message_admin)),
                )
                for message in page.messages
            ],
            "all_actions_url": links.manual_actions_on(row.pk),
            "all_transitions_url": links.list_url("transitions", user__exact=row.pk),
            "all_messages_url": links.list_url("messages", user__exact=row.pk),
        }


def _quick_filters(request: HttpRequest) -> Iterator[tuple[object, dict[str, str]]]:
    """The filters that support uses every day, as far as the staff account may use them."""
    may = visibility_for(request)
    week_ago = (timezone.localdate(now_of(request)) - timedelta(days=7)).isoformat()
    yield _("All"), {}
    if may.states:
        yield _("Due at the next run"), {DueFilter.parameter_name: DueFilter.ANY}
        yield _("Waiting for a reply"), {BY_STATE: State.GOODBYE_SENT.value}
    if may.messages:
        yield _("Message failed"), {UsersMessageFilter.parameter_name: MessageStatus.FAILED.value}
    yield _("Opted out this week"), {"reengagement_opt_out__exact": "1", "opt_out_changed_at_from": week_ago}
    if may.states and may.transitions:
        yield _("Came back this week"), {CameBackFilter.parameter_name: "7"}


def _useful_actions(profile: UserProfile, page: Page) -> set[SupportAction]:
    """The actions that would change something, as far as the page knows."""
    useful = {OPT_IN if profile.reengagement_opt_out else OPT_OUT}
    if page.may_be_inactive:
        useful.add(MARK_AS_ACTIVE)
    if page.may_have_pending:
        useful.add(CANCEL_ALL)
    return useful


def _useful_for(message: ShownMessage, message_admin: Any) -> list[SupportAction]:
    useful = message_admin.useful_actions(message.row)
    return [action for action in useful if action is not RETRY or message.may_retry]


def _state_row(profile: UserProfile) -> UserEngagementState | None:
    state: UserEngagementState | None = getattr(profile, "engagement_state", None)
    return state


def _from_state(profile: UserProfile, column: str) -> Any:
    return getattr(_state_row(profile), column, None)


def _state(profile: UserProfile) -> str:
    state = _from_state(profile, "state")
    return str(State(state).label) if state else ""


def _opted_out(profile: UserProfile) -> str:
    return str(_("yes") if profile.reengagement_opt_out else _("no"))


def _fate(profile: UserProfile) -> Fate | None:
    return fate_of_goodbye(getattr(profile, "latest_goodbye", None), _state_row(profile), user_id=profile.pk)


def _fate_text(fate: Fate | None) -> str:
    return str(fate.text) if fate else ""
