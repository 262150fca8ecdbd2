"""The list of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.filters import DayRangeFilter, now_of
from engagement.admin.labels import STATE_COLORS, badge
from engagement.admin.masking import column, shown_address, shown_text, visibility_for
from engagement.admin.support_actions import CANCEL_ALL, MARK_AS_ACTIVE, OPT_IN, OPT_OUT
from engagement.admin.user_page import user_page
from engagement.models import EngagementMessage, UserProfile
from engagement.selectors.user_search import has_history
from engagement.states import State

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from engagement.admin.action_views import SupportAction
    from engagement.admin.user_page import Page

BY_STATE: Final = ("engagement_state__state", ChoicesCheckboxFilter)


@admin.register(UserProfile)
class UserProfileAdmin(SupportActionsAdmin):
    """Users, with a page for each."""

    list_select_related = ("engagement_state",)
    list_filter = (
        ("reengagement_opt_out", BooleanRadioFilter),
        BY_STATE,
        ("preferred_destination", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    search_fields = ("user_id__exact",)
    # The ids of other programs are not ordered by time.
    ordering = ("-created_at", "-user_id")
    user_column = "pk"
    support_actions = (MARK_AS_ACTIVE, OPT_OUT, OPT_IN, CANCEL_ALL)
    lines = ("user_id",)
    change_form_template = "engagement/user.html"

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        state = ["state_label"] if visibility_for(request).states else []
        locale = column("locale", shown_text, request=request)
        address = column("whatsapp_jid", shown_address, request=request, title="WhatsApp")
        return ["user_id", *state, locale, "is_opted_out", "created_at", address]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        sees_states = visibility_for(request).states
        return [item for item in self.list_filter if sees_states or item is not BY_STATE]

    @display(description="state")
    def state_label(self, profile: UserProfile) -> str | None:
        state = getattr(profile, "engagement_state", None)
        return badge(State(state.state).label, STATE_COLORS[state.state]) if state else None

    @display(description="opted out", label={"yes": "warning"})
    def is_opted_out(self, profile: UserProfile) -> str:
        return "yes" if profile.reengagement_opt_out else "no"

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

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self._page_context(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def _page_context(self, request: HttpRequest, profile: UserProfile) -> dict[str, Any]:
        is_stored = not profile._state.adding  # noqa: SLF001  documented by Django
        page = user_page(
            profile if is_stored else None,
            user_id=profile.pk,
            now=now_of(request),
            visibility=visibility_for(request),
        )
        useful = _useful_actions(profile, page) if is_stored else ()
        message_admin = self.admin_site.get_model_admin(EngagementMessage)
        return {
            "page": page,
            "title": f"User {profile.pk}",
            "subtitle": None,
            "buttons": self.buttons(request, profile, useful=useful),
            "message_items": [
                (message, message_admin.buttons(request, message.row)) for message in page.messages
            ],
            "all_actions_url": reverse("admin:engagement_userprofile_history", args=(profile.pk,)),
            "all_transitions_url": _list_url("engagementstatetransition", profile.pk),
            "all_messages_url": _list_url("engagementmessage", profile.pk),
        }


def _useful_actions(profile: UserProfile, page: Page) -> set[SupportAction]:
    """The actions that would change something, as far as the page knows."""
    useful = {OPT_IN if profile.reengagement_opt_out else OPT_OUT}
    if page.may_be_inactive:
        useful.add(MARK_AS_ACTIVE)
    if page.may_have_pending:
        useful.add(CANCEL_ALL)
    return useful


def _list_url(model: str, user_id: UUID) -> str:
    return f"{reverse(f'admin:engagement_{model}_changelist')}?user__exact={user_id}"
