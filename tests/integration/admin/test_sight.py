"""The pages of users show of each what the account may see elsewhere, and say what they do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import EngagementJobRun, UserEngagementState, UserProfile
from tests.factories import make_user
from tests.integration.admin.pages import act_url, choose, list_url, page_url, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

STATES: Final = "view_userengagementstate"
MOVES: Final = "view_engagementstatetransition"
MESSAGES: Final = "view_engagementmessage"

SHOWN: Final = {
    STATES: ("Goodbye sent ", "makes the user dormant", "<dt>Goodbye sent</dt>", "<dt>Goodbye ends</dt>"),
    MOVES: ("Inactivity: active → waiting for reply", "silent for 14 days"),
    MESSAGES: ("engagement-bubble", "1. "),
}
"""What the page of a user shows to who has the permission."""
NOT_SHOWN: Final = {
    STATES: "Not shown: your account may not see states",
    MOVES: "Moves are not shown: your account may not see transitions.",
    MESSAGES: "Not shown: your account may not see messages.",
}


@pytest.fixture
def told_goodbye() -> UserProfile:
    user = make_user("silent")
    run_job()
    return user.user


@pytest.mark.parametrize("permission", [STATES, MOVES, MESSAGES])
def test_page_of_a_user_shows_what_the_account_may_see(
    account_that_may: Callable[..., Client], told_goodbye: UserProfile, permission: str
) -> None:
    page = text_of(account_that_may("view_userprofile", permission), page_url(told_goodbye))
    for name, texts in SHOWN.items():
        assert {text for text in texts if text in page} == (set(texts) if name == permission else set())
        assert (NOT_SHOWN[name] in page) == (name != permission)
    links = {label for label in ("All moves", "All messages") if f">{label}</a>" in page}
    assert links == {MOVES: {"All moves"}, MESSAGES: {"All messages"}}.get(permission, set())


def test_page_says_nothing_of_sight_to_who_sees_all(viewer: Client, told_goodbye: UserProfile) -> None:
    assert "your account may not see" not in text_of(viewer, page_url(told_goodbye))


def test_since_when_is_told_to_who_sees_where_a_user_stands_and_how_they_moved(
    account_that_may: Callable[..., Client], told_goodbye: UserProfile
) -> None:
    for permissions, is_told in (([STATES], False), ([MOVES], False), ([STATES, MOVES], True)):
        page = text_of(account_that_may("view_userprofile", *permissions), page_url(told_goodbye))
        assert ("In this state since" in page) == is_told


def test_run_is_linked_for_who_may_see_it(
    account_that_may: Callable[..., Client], told_goodbye: UserProfile
) -> None:
    run = EngagementJobRun.objects.get()
    for permissions, is_linked in (([MOVES], False), ([MOVES, "view_engagementjobrun"], True)):
        client = account_that_may("view_userprofile", *permissions)
        page = text_of(client, page_url(told_goodbye))
        assert f"run {run.job_id}" in page
        assert (f'href="{page_url(run)}"' in page) == is_linked
    assert client.get(page_url(run)).status_code == 200


@pytest.mark.parametrize("state", ["active", "dormant"])
def test_what_is_offered_betrays_nothing_that_is_not_shown(
    account_that_may: Callable[..., Client], state: str
) -> None:
    profile = make_user(state=state).user
    client = account_that_may("view_userprofile", "bring_back", "cancel_message")
    page = text_of(client, page_url(profile))
    for action in ("bring_back", "cancel_all"):
        assert act_url(profile, action) in page


def test_list_of_users_tells_states_to_who_may_see_them(
    account_that_may: Callable[..., Client], told_goodbye: UserProfile
) -> None:
    by_state = {"engagement_state__state__exact": "goodbye_sent"}
    for permissions, is_told, code in (([], False, 400), ([STATES], True, 200)):
        client = account_that_may("view_userprofile", *permissions)
        shown = text_of(client, list_url(UserProfile))
        shown += choose(client, UserProfile, "download", told_goodbye).content.decode()
        assert ("waiting for reply" in shown) == is_told
        assert client.get(list_url(UserProfile), by_state).status_code == code
        assert client.get(list_url(UserEngagementState)).status_code == (200 if is_told else 403)
