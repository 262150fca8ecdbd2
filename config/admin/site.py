"""The admin site and the callables that the theme's settings name.

The settings name them as text, so that commands that show no pages do not load this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import InvalidPage
from django.http import Http404
from django.templatetags.static import static
from django.urls import path, reverse
from django.utils.translation import gettext as _
from unfold.sites import UnfoldAdminSite

from config.admin.one_time_links import mail_is_configured
from config.admin.preferences import preferences_page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver


class Site(UnfoldAdminSite):
    """The theme's site without two of its server errors, and with our log-in page."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Leave out "view on site": no row has such a page, and an id that is not a number would fail."""
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def extra_urls(self) -> list[URLPattern]:
        """The page of the account's preferences. The theme calls this."""
        return [path("preferences/", self.admin_view(self.preferences), name="preferences")]

    def preferences(self, request: HttpRequest) -> HttpResponse:
        """Language and time zone of the account."""
        return preferences_page(request, context=self.each_context(request))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Say whether the log-in page can offer a link by mail."""
        return super().login(request, {"can_reset": mail_is_configured(), **(extra_context or {})})

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Search from the sidebar. A page number that does not exist is a 404, not a server error."""
        try:
            return super().search(request, extra_context)
        except InvalidPage as error:
            raise Http404 from error


def style_sheet(_request: HttpRequest) -> str:
    return static("engagement/admin.css")


def script(_request: HttpRequest) -> str:
    return static("engagement/admin.js")


def icon(_request: HttpRequest) -> str:
    return static("engagement/icon.svg")


def no_colors(_request: HttpRequest) -> dict[str, dict[str, str]]:
    """Set no colors in the page, which the content security policy forbids: the style sheet sets them."""
    return {}


def account_links(request: HttpRequest) -> list[dict[str, str]]:
    """Return the links of the account's menu."""
    links = [{"title": _("Preferences"), "link": reverse("admin:preferences")}]
    if request.user.is_authenticated and request.user.has_usable_password():
        links.append({"title": _("Change password"), "link": reverse("admin:password_change")})
    return links


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar's links that the account has permission to open."""
    lists = [
        {"title": _("Dashboard"), "icon": "dashboard", "link": reverse("admin:index")},
        _list(request, _("Users"), icon="person", model="engagement.userprofile"),
        _list(request, _("Transitions"), icon="history", model="engagement.engagementstatetransition"),
        *_messages(request),
        _list(request, _("Pauses"), icon="pause_circle", model="engagement.sendingchannel"),
        _list(request, _("Runs"), icon="schedule", model="engagement.engagementjobrun"),
        _manual_actions(request),
    ]
    accounts = [
        _list(request, _("Accounts"), icon="badge", model="auth.user"),
        _list(request, _("Groups"), icon="group", model="auth.group"),
        _list(request, _("API tokens"), icon="key", model="engagement.apitoken", or_if="manage_api_tokens"),
    ]
    groups: list[dict[str, Any]] = [{"items": _allowed(lists)}]
    if allowed := _allowed(accounts):
        groups.append({"title": _("Team"), "separator": True, "items": allowed})
    return groups


def _manual_actions(request: HttpRequest) -> dict[str, Any] | None:
    # The page of a user shows the same actions.
    if not request.user.has_perm("engagement.view_userprofile"):
        return None
    return {
        "title": _("Manual actions"),
        "icon": "support_agent",
        "link": reverse("admin:admin_logentry_changelist"),
    }


def _list(
    request: HttpRequest, title: str, *, icon: str, model: str, or_if: str = ""
) -> dict[str, Any] | None:
    """The link to a list, for accounts that may see it. Another permission may be enough."""
    app, name = model.split(".")
    codenames = [f"view_{name}", *filter(None, [or_if])]
    if not any(request.user.has_perm(f"{app}.{codename}") for codename in codenames):
        return None
    return {"title": title, "icon": icon, "link": reverse(f"admin:{app}_{name}_changelist")}


def _messages(request: HttpRequest) -> list[dict[str, Any] | None]:
    """The list of messages and that of their texts, whose address begins like that of the list."""
    messages = _list(request, _("Messages"), icon="mail", model="engagement.engagementmessage")
    if messages is None:
        return []
    link = reverse("admin:engagement_message_texts")
    is_text = request.path.startswith(link)
    if is_text:
        messages["active"] = False
    return [messages, {"title": _("Message texts"), "icon": "chat", "link": link}]


def _allowed(items: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    return [item for item in items if item]
