"""What the settings of the theme call by name, so that the job, which shows no page, loads none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.templatetags.static import static
from django.urls import reverse

if TYPE_CHECKING:
    from django.http import HttpRequest


def style_sheet(_request: HttpRequest) -> str:
    return static("engagement/admin.css")


def script(_request: HttpRequest) -> str:
    return static("engagement/admin.js")


def icon(_request: HttpRequest) -> str:
    return static("engagement/icon.svg")


def no_colors(_request: HttpRequest) -> dict[str, dict[str, str]]:
    """They stand in our style sheet: the theme would write them into each page, which the policy forbids."""
    return {}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The side bar, as far as this person may follow it."""
    lists = [
        {"title": "Dashboard", "icon": "dashboard", "link": reverse("admin:index")},
        _list(request, "Users", icon="person", model="engagement.userprofile"),
        _list(request, "States", icon="flag", model="engagement.userengagementstate"),
        _list(request, "Transitions", icon="history", model="engagement.engagementstatetransition"),
        _list(request, "Messages", icon="mail", model="engagement.engagementmessage"),
        _list(request, "Runs", icon="schedule", model="engagement.engagementjobrun"),
    ]
    accounts = [
        _list(request, "Accounts", icon="badge", model="auth.user"),
        _list(request, "Groups", icon="group", model="auth.group"),
    ]
    groups: list[dict[str, Any]] = [{"items": _allowed(lists)}]
    if allowed := _allowed(accounts):
        groups.append({"title": "Who may log in", "separator": True, "items": allowed})
    return groups


def _list(request: HttpRequest, title: str, *, icon: str, model: str) -> dict[str, Any] | None:
    app, name = model.split(".")
    if not request.user.has_perm(f"{app}.view_{name}"):
        return None
    return {"title": title, "icon": icon, "link": reverse(f"admin:{app}_{name}_changelist")}


def _allowed(items: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    return [item for item in items if item]
