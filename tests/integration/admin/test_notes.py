"""What stands around the rows of a list: its title, what it is filtered by, what was looked for, how many."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User

from engagement.admin.search import BY_ID_ALONE, TOO_MANY
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from tests.factories import make_user, make_users
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import MODELS, OF_USERS, list_url, text_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


def notes(client: Client, model: type[Model], **query: Any) -> list[str]:
    page = text_of(client, list_url(model), **query)
    above = page[: page.index('id="changelist-form"')]
    return re.findall(r'<p class="engagement-note engagement-above">(.*?)</p>', above)


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_said_of_a_list_that_holds_everything(viewer: Client, model: type[Model]) -> None:
    fill_tables(1)
    assert notes(viewer, model) == []


def test_nothing_is_said_of_a_day_that_is_none(viewer: Client) -> None:
    fill_tables(1)
    assert notes(viewer, UserProfile, created_at_from="soon", created_at_to="") == []


@pytest.mark.parametrize(
    ("model", "query", "words"),
    [
        (UserEngagementState, {"state__exact": "dormant"}, "state: dormant"),
        (
            UserEngagementState,
            {"state__exact": ["help_flow", "dormant"], "due": "inactivity_14d"},
            "state: getting help or dormant; due at the next run: inactivity",
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
        (EngagementJobRun, {"check": "goodbye_timeout"}, "check: no reply to the goodbye"),
    ],
)
def test_list_says_what_it_is_filtered_by(
    viewer: Client, model: type[Model], query: dict[str, str], words: str
) -> None:
    assert notes(viewer, model, **query) == [f"Filtered by {words}."]


@pytest.mark.parametrize("model", OF_USERS)
def test_search_that_begins_too_many_numbers_says_so(support: Client, model: type[Model]) -> None:
    fill_tables(200)
    assert notes(support, model, q="9990") == []
    make_user(user__whatsapp_jid="99909@s.whatsapp.net")
    assert notes(support, model, q="9990") == [TOO_MANY]
    assert notes(support, model, q="99909") == []


@pytest.mark.parametrize("model", OF_USERS)
def test_search_by_number_is_told_to_be_in_vain_to_who_may_not(viewer: Client, model: type[Model]) -> None:
    user = make_user(user__whatsapp_jid="5511999990042@s.whatsapp.net")
    assert notes(viewer, model, q="5511999990042") == [BY_ID_ALONE]
    assert notes(viewer, model, q=str(user.user_id)) == []


def test_empty_list_promises_nothing_that_cannot_be_done(viewer: Client) -> None:
    page = text_of(viewer, list_url(UserProfile))
    assert "There are no rows yet." in page
    assert "Show all" not in page
    for query in ({"q": "somebody"}, {"reengagement_opt_out__exact": "1"}):
        page = text_of(viewer, list_url(UserProfile), **query)
        assert "No row fits" in page
        assert "Create a new item" not in page
        assert '<a href="?"' in page


@pytest.mark.parametrize(
    ("model", "one", "two"),
    [(UserEngagementState, "1 user", "2 users"), (EngagementJobRun, "1 run", "2 runs")],
)
def test_rows_are_counted_as_what_they_stand_for(
    viewer: Client, model: type[Model], one: str, two: str
) -> None:
    for words in (one, two):
        fill_tables(1) if model is EngagementJobRun else make_users(1)
        assert re.search(rf"^\s*{words}\s*$", text_of(viewer, list_url(model)), re.MULTILINE)


def test_accounts_are_not_called_as_the_users_are(admin_client: Client) -> None:
    person = User.objects.get()
    for page in ("/admin/auth/user/", f"/admin/auth/user/{person.pk}/change/"):
        path = text_of(admin_client, page).partition("<h1")[2].partition("</h1>")[0]
        assert re.search(r'<a href="/admin/auth/user/"[^>]*>\s*Accounts\s*</a>', path)
        assert "Users" not in path
        icons = re.findall(r"<span([^>]*)>chevron_right</span>", path)
        assert icons
        assert all('aria-hidden="true"' in icon for icon in icons)
