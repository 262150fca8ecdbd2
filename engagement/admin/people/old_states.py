"""The former list of states: its addresses lead to the list and the pages of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from unfold.admin import ModelAdmin

from engagement.admin import links
from engagement.models import UserEngagementState

if TYPE_CHECKING:
    from django.http import HttpRequest

_OF_STATE: Final = ("state", "last_activity_at", "goodbye_expires_at", "remind_at")


@admin.register(UserEngagementState)
class OldStatesAdmin(ModelAdmin):
    """Redirects, for links and bookmarks."""

    def has_module_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseRedirect:  # noqa: ARG002
        query = request.GET.copy()
        for name in request.GET:
            if name.startswith(_OF_STATE):
                query.setlist(f"engagement_state__{name}", query.pop(name))
        return HttpResponseRedirect(f"{links.list_url('users')}?{query.urlencode()}")

    def change_view(
        self, request: HttpRequest, object_id: str, *_args: Any, **_options: Any
    ) -> HttpResponseRedirect:
        state = self.get_object(request, object_id)
        if not self.has_view_permission(request, state):
            raise PermissionDenied
        if state is None:
            raise Http404
        return HttpResponseRedirect(links.user_url(state.user_id))

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False
