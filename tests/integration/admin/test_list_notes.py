"""The texts around the rows of a list: title, filters, search, count. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from engagement.admin.read_only_admin import INVALID_FILTERS, NO_SEARCH_BY_NUMBER, TOO_MANY_FOUND
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserProfile,
)
from engagement.selectors.user_search import MAX_FOUND
from engagement.states import State, Trigger
from tests.factories import make_user, make_users
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import MODELS, OF_USERS, list_url, text_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

INACTIVITY = Trigger.INACTIVITY_14D.label.lower()


def notes(client: Client, model: type[Model], **query: Any) -> list[str]:
    page = text_of(client, list_url(model), **query)
    above = page[: page.index('id="changelist-form"')]
    return re.findall(r'<p class="engagement-note engagement-above">(.*?)</p>', above)


@pytest.mark.parametrize("model", MODELS)
def test_complete_list_has_no_note(viewer: Client, model: type[Model]) -> None:
    fill_tables(1)
    assert notes(viewer, model) == []


def test_text_that_is_no_day_is_noted(viewer: Client) -> None:
    fill_tables(1)
    query = {"created_at_from": "soon", "created_at_to": " ", "engagement_state__remind_at_to": "2026-02-31"}
    assert set(notes(viewer, UserProfile, **query)) == {
        "This date was not understood: soon.",
        "This date was not understood: 2026-02-31.",
    }


def test_address_with_invalid_filters_is_noted(viewer: Client) -> None:
    fill_tables(1)
    response = viewer.get(list_url(UserProfile), {"created_at__exact": "1"})
    assert response.headers["Location"] == f"{list_url(UserProfile)}?e=1"
    assert notes(viewer, UserProfile, e="1") == [str(INVALID_FILTERS)]
    valid = {"engagement_state__state__exact": "dormant"}
    assert notes(viewer, UserProfile, e="1", **valid) == ["Filtered by state: dormant."]


def test_list_stays_sortable_beside_the_note_on_invalid_filters(viewer: Client) -> None:
    fill_tables(1)
    changelist = viewer.get(list_url(UserProfile), {"e": "1"}).context["cl"]
    assert "last_message" in changelist.sortable_by


@pytest.mark.parametrize(
    ("model", "query", "summary"),
    [
        (UserProfile, {"engagement_state__state__exact": "dormant"}, "state: dormant"),
        (
            UserProfile,
            {"engagement_state__state__exact": ["help_flow", "dormant"], "due": "inactivity_14d"},
            f"state: {State.HELP_FLOW.label} or dormant; due at the next run: {INACTIVITY}",
        ),
        (UserProfile, {"reengagement_opt_out__exact": "0"}, "opted out: no"),
        (
            EngagementStateTransition,
            {"created_at_from": "1998-07-01", "created_at_to": "1998-07-02"},
            "created at: from 1 July 1998 to 2 July 1998",
        ),
        (EngagementMessage, {"sent_at_to": "1998-07-02"}, "sent at: to 2 July 1998"),
        (EngagementMessage, {"user__exact": "0" * 32}, f"user: {'0' * 32}"),
        (EngagementJobRun, {"status__exact": "vanished"}, "status: vanished"),
        (EngagementJobRun, {"check": "goodbye_timeout"}, f"check: {Trigger.GOODBYE_TIMEOUT.label.lower()}"),
    ],
)
def test_filters_are_summarised(
    viewer: Client, model: type[Model], query: dict[str, str], summary: str
) -> None:
    assert notes(viewer, model, **query) == [f"Filtered by {summary}."]


@pytest.mark.parametrize("model", OF_USERS)
def test_search_with_too_many_results_is_noted(support: Client, model: type[Model]) -> None:
    fill_tables(200)
    assert notes(support, model, q="9990") == []
    make_user(user__whatsapp_jid="99909@s.whatsapp.net")
    assert notes(support, model, q="9990") == [TOO_MANY_FOUND % {"limit": MAX_FOUND}]
    assert notes(support, model, q="99909") == []


@pytest.mark.parametrize("model", OF_USERS)
def test_search_by_number_without_permission_is_noted(viewer: Client, model: type[Model]) -> None:
    user = make_user(user__whatsapp_jid="5511999990042@s.whatsapp.net")
    assert notes(viewer, model, q="5511999990042") == [str(NO_SEARCH_BY_NUMBER)]
    assert notes(viewer, model, q=str(user.user_id)) == []


@pytest.mark.parametrize(
    "query", [{"q": "anna"}, {"reengagement_opt_out__exact": "1"}, {"preferred_destination": "group"}]
)
def test_list_without_results_suggests_to_clear_the_filters(viewer: Client, query: dict[str, str]) -> None:
    make_user()
    page = text_of(viewer, list_url(UserProfile), **query)
    assert "Try a different search or clear the filters." in page
    assert "Create a new item" not in page
    assert '<a href="?"' in page


def test_list_of_an_empty_table_does_not_mention_filters(viewer: Client) -> None:
    page = text_of(viewer, list_url(UserProfile))
    assert "The list is empty." in page
    assert "lear the filters" not in page.lower()


@pytest.mark.parametrize(
    ("model", "counts"),
    [(UserProfile, ("1 user", "2 users")), (EngagementJobRun, ("1 run", "2 runs"))],
)
def test_rows_are_counted_with_a_noun(viewer: Client, model: type[Model], counts: tuple[str, str]) -> None:
    for count in counts:
        fill_tables(1) if model is EngagementJobRun else make_users(1)
        assert re.search(rf"^\s*{count}\s*$", text_of(viewer, list_url(model)), re.MULTILINE)


def test_users_of_django_are_called_accounts(admin_client: Client) -> None:
    account = User.objects.get()
    for page in ("/admin/auth/user/", f"/admin/auth/user/{account.pk}/change/"):
        path = text_of(admin_client, page).partition("<h1")[2].partition("</h1>")[0]
        assert re.search(r'<a href="/admin/auth/user/"[^>]*>\s*Accounts\s*</a>', path)
        assert "Users" not in path
        icons = re.findall(r"<span([^>]*)>chevron_right</span>", path)
        assert icons
        assert all('aria-hidden="true"' in icon for icon in icons)
