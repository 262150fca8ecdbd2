"""The page and the list of users show what the account may see, and name what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import EngagementJobRun, UserProfile
from engagement.states import State, Trigger
from tests.factories import make_user
from tests.integration.admin.pages import act_url, download, list_url, page_url, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

STATES: Final = "view_userengagementstate"
TRANSITIONS: Final = "view_engagementstatetransition"
MESSAGES: Final = "view_engagementmessage"

INACTIVITY: Final = f"{Trigger.INACTIVITY_14D.label}: {State.ACTIVE.label} → {State.GOODBYE_SENT.label}"
SHOWN: Final = {
    STATES: ("imed out ", "engagement-next-step", "<dt>Goodbye queued</dt>", "<dt>Reply expected until</dt>"),
    TRANSITIONS: (INACTIVITY.capitalize(), "inactive for 14 days", "Full history"),
    MESSAGES: ("engagement-bubble", "1. ", "All messages"),
}
"""What the page of a user shows with each permission."""
NOT_SHOWN: Final = {
    STATES: "Not shown: your account may not see states",
    TRANSITIONS: "Not shown: your account may not see transitions.",
    MESSAGES: "Not shown: your account may not see messages.",
}


@pytest.fixture
def waiting() -> UserProfile:
    """A user with a goodbye."""
    user = make_user("silent")
    run_job()
    return user.user


@pytest.mark.parametrize("permission", [STATES, TRANSITIONS, MESSAGES])
def test_page_shows_what_the_account_may_see(
    account_with: Callable[..., Client], waiting: UserProfile, permission: str
) -> None:
    page = text_of(account_with("view_userprofile", permission), page_url(waiting))
    for name, texts in SHOWN.items():
        assert {text for text in texts if text in page} == (set(texts) if name == permission else set())
        assert (NOT_SHOWN[name] in page) == (name != permission)


def test_page_that_shows_everything_does_not_mention_permissions(
    viewer: Client, waiting: UserProfile
) -> None:
    assert "your account may not see" not in text_of(viewer, page_url(waiting))


@pytest.mark.parametrize(
    ("permissions", "shown"), [([STATES], 0), ([TRANSITIONS], 0), ([STATES, TRANSITIONS], 1)]
)
def test_start_of_a_state_needs_both_permissions(
    account_with: Callable[..., Client], waiting: UserProfile, permissions: list[str], shown: int
) -> None:
    page = text_of(account_with("view_userprofile", *permissions), page_url(waiting))
    assert page.count("In this state since") == shown


@pytest.mark.parametrize(("permissions", "code"), [([], 403), (["view_engagementjobrun"], 200)])
def test_run_is_linked_for_accounts_that_may_see_it(
    account_with: Callable[..., Client], waiting: UserProfile, permissions: list[str], code: int
) -> None:
    run = EngagementJobRun.objects.get()
    client = account_with("view_userprofile", TRANSITIONS, *permissions)
    page = text_of(client, page_url(waiting))
    assert f"run …{str(run.job_id)[-8:]}" in page
    assert (f'href="{page_url(run)}"' in page) == (code == 200)
    assert client.get(page_url(run)).status_code == code


@pytest.mark.parametrize("state", ["active", "dormant"])
def test_buttons_do_not_reveal_hidden_facts(account_with: Callable[..., Client], state: str) -> None:
    profile = make_user(state=state).user
    page = text_of(account_with("view_userprofile", "bring_back", "cancel_message"), page_url(profile))
    for action in ("bring_back", "cancel_all"):
        assert act_url(profile, action) in page


@pytest.mark.parametrize(("permissions", "code"), [([], 400), ([STATES], 200)])
def test_list_of_users_shows_states_to_accounts_that_may_see_them(
    account_with: Callable[..., Client], waiting: UserProfile, permissions: list[str], code: int
) -> None:
    client = account_with("view_userprofile", *permissions)
    shown = text_of(client, list_url(UserProfile)) + download(client, waiting)
    assert (str(State.GOODBYE_SENT.label) in shown) == (code == 200)
    by_state = {"engagement_state__state__exact": "goodbye_sent"}
    assert client.get(list_url(UserProfile), by_state).status_code == code
