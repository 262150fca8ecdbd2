"""The list of users, and the page of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin import colors
from engagement.admin.actions import ActingAdmin
from engagement.admin.base import moment_of
from engagement.admin.filters import DayRangeFilter
from engagement.admin.masking import column, shown_address, shown_text
from engagement.admin.support_actions import BRING_BACK, CANCEL_ALL, OPT_IN, OPT_OUT
from engagement.admin.user_page import user_page
from engagement.admin.visibility import sight_of
from engagement.models import EngagementMessage, UserProfile
from engagement.selectors import user_search as people_selectors
from engagement.states import State

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

    from engagement.admin.actions import HandAction
    from engagement.admin.user_page import Page


BY_STATE: Final = ("engagement_state__state", ChoicesCheckboxFilter)


@admin.register(UserProfile)
class UserProfileAdmin(ActingAdmin):
    """Who the users are, whether they can be reached, and all that happened to each."""

    list_select_related = ("engagement_state",)
    list_filter = (
        ("reengagement_opt_out", BooleanRadioFilter),
        BY_STATE,
        ("preferred_destination", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    search_fields = ("user_id__exact",)
    # Not by id: those that other programs make are not in the order of time.
    ordering = ("-created_at", "-user_id")
    user_column = "pk"
    hand_actions = (BRING_BACK, OPT_OUT, OPT_IN, CANCEL_ALL)
    lines = ("user_id",)
    change_form_template = "engagement/user.html"

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        stands = ["stands"] if sight_of(request).states else []
        locale = column("locale", shown_text, request=request)
        address = column("whatsapp_jid", shown_address, request=request, title="WhatsApp")
        return ["user_id", *stands, locale, "is_opted_out", "created_at", address]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        sees_states = sight_of(request).states
        return [item for item in self.list_filter if sees_states or item is not BY_STATE]

    @display(description="state", label=colors.STATES)
    def stands(self, profile: UserProfile) -> str | None:
        state = getattr(profile, "engagement_state", None)
        return State(state.state).label if state else None

    @display(description="opted out", label={"yes": "warning"})
    def is_opted_out(self, profile: UserProfile) -> str:
        return "yes" if profile.reengagement_opt_out else "no"

    def user_of(self, row: UserProfile) -> UUID:
        return row.pk

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The user; a row that is not stored for one who was deleted and of whom something is kept."""
        if profile := super().get_object(request, object_id, from_field):
            return profile
        try:
            user_id = UUID(object_id)
        except ValueError:
            return None
        return UserProfile(user_id=user_id) if people_selectors.is_remembered(user_id) else None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self._context(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def _context(self, request: HttpRequest, profile: UserProfile) -> dict[str, Any]:
        is_stored = not profile._state.adding  # noqa: SLF001  documented by Django
        page = user_page(
            profile if is_stored else None,
            user_id=profile.pk,
            now=moment_of(request),
            sight=sight_of(request),
        )
        message_admin = self.admin_site.get_model_admin(EngagementMessage)
        return {
            "page": page,
            "title": f"User {profile.pk}",
            "subtitle": None,
            "buttons": self.buttons(request, profile, fitting=_fitting(profile, page) if is_stored else ()),
            "message_items": [
                (message, message_admin.buttons(request, message.row)) for message in page.shown_messages
            ],
            "all_acts": reverse("admin:engagement_userprofile_history", args=(profile.pk,)),
            "all_moves": _list_of("engagementstatetransition", profile),
            "all_messages": _list_of("engagementmessage", profile),
        }


def _fitting(profile: UserProfile, page: Page) -> set[HandAction]:
    """What would make a difference to the user, as far as the page knows."""
    fitting = {OPT_IN if profile.reengagement_opt_out else OPT_OUT}
    if page.may_be_brought_back:
        fitting.add(BRING_BACK)
    if page.may_have_pending:
        fitting.add(CANCEL_ALL)
    return fitting


def _list_of(model: str, profile: Model) -> str:
    return f"{reverse(f'admin:engagement_{model}_changelist')}?user__exact={profile.pk}"
