"""The page and the list of users show what the account may see, and name what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import pytest

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserProfile,
)
from engagement.services.api_tokens import make_token
from engagement.services.delivery.channels import pause_sending
from engagement.states import State, Trigger
from tests.factories import NOW, make_user, queue_for
from tests.integration.admin.pages import act_url, download, list_url, page_url, sentences, text_of
from tests.integration.admin.visible_texts import Links
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

STATES: Final = "view_userengagementstate"
TRANSITIONS: Final = "view_engagementstatetransition"
MESSAGES: Final = "view_engagementmessage"
RUNS: Final = "view_engagementjobrun"

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


@pytest.mark.parametrize(
    ("job_id", "shown"),
    [
        ("01a22aaa-6cc4-75dc-b678-e68540028947", ">run …40028947<"),
        ("01a22aaa-6cc4-75dc-b678-e68555119876", ">run …55119876<"),
        ("+55 11 98765-4321", ">run [number]<"),
        ("nightly", ">run nightly<"),
        ({"by": "ana@example.org"}, '>run {"by": "[address]"}<'),
        ({"by": "55\t11\u200b99999\t0042"}, '>run {"by": "[number]"}<'),
    ],
)
@pytest.mark.parametrize("name", ["job_id", "undone_job_id"])
def test_run_is_named_by_the_end_of_its_id_even_if_these_are_digits(
    account_with: Callable[..., Client], waiting: UserProfile, name: str, job_id: object, shown: str
) -> None:
    EngagementStateTransition.objects.update(metadata={name: job_id})
    page = text_of(account_with("view_userprofile", TRANSITIONS, RUNS), page_url(waiting))
    assert shown.replace("run", "undid run" if name == "undone_job_id" else "run") in page


@pytest.mark.parametrize("state", ["active", "dormant"])
def test_buttons_do_not_reveal_hidden_facts(account_with: Callable[..., Client], state: str) -> None:
    profile = make_user(state=state).user
    page = text_of(account_with("view_userprofile", "bring_back", "cancel_message"), page_url(profile))
    for action in ("bring_back", "cancel_all"):
        assert act_url(profile, action) in page


@pytest.mark.parametrize(("permissions", "shown"), [([], True), ([STATES], False)])
def test_page_of_a_message_does_not_reveal_that_the_user_no_longer_waits(
    account_with: Callable[..., Client], permissions: list[str], *, shown: bool
) -> None:
    goodbye = queue_for(make_user("dormant"), MessageType.GOODBYE, status="failed")
    client = account_with(MESSAGES, "retry_message", *permissions)
    assert (act_url(goodbye, "retry") in text_of(client, page_url(goodbye))) == shown


@pytest.mark.parametrize(
    ("permissions", "reasons"),
    [
        ([], {"the message cannot be retried"}),
        ([STATES], {"the user no longer needs the goodbye", "the user has opted out"}),
    ],
)
def test_refused_retry_does_not_reveal_that_the_user_no_longer_waits(
    account_with: Callable[..., Client], permissions: list[str], reasons: set[str]
) -> None:
    users = (make_user("dormant"), make_user("goodbye_sent", user__reengagement_opt_out=True))
    client = account_with(MESSAGES, "retry_message", *permissions)
    said = set()
    for user in users:
        goodbye = queue_for(user, MessageType.GOODBYE, status="failed")
        said.update(sentences(client.post(act_url(goodbye, "retry"), follow=True)))
    assert said == {f"Retry: skipped because {reason}." for reason in reasons}


@pytest.mark.parametrize(("permissions", "code"), [([], 400), ([STATES], 200)])
def test_list_of_users_shows_states_to_accounts_that_may_see_them(
    account_with: Callable[..., Client], waiting: UserProfile, permissions: list[str], code: int
) -> None:
    client = account_with("view_userprofile", *permissions)
    shown = text_of(client, list_url(UserProfile)) + download(client, waiting)
    assert (str(State.GOODBYE_SENT.label) in shown) == (code == 200)
    by_state = {"engagement_state__state__exact": "goodbye_sent"}
    assert client.get(list_url(UserProfile), by_state).status_code == code


def links_of(client: Client, url: str) -> set[str]:
    """The addresses that a page leads to, without its breadcrumbs and the sidebar of the theme."""
    return {urljoin(url, link).partition("#")[0] for link in Links(text_of(client, url)).urls}


@pytest.mark.parametrize(
    "permissions",
    [
        (MESSAGES,),
        (TRANSITIONS,),
        (RUNS,),
        (STATES, TRANSITIONS, MESSAGES, RUNS),
        ("manage_api_tokens",),
        ("view_sendingchannel",),
    ],
)
def test_links_lead_to_what_the_account_may_see(
    account_with: Callable[..., Client], waiting: UserProfile, permissions: tuple[str, ...]
) -> None:
    EngagementJobRun.objects.update(
        errors=[{"user_id": str(waiting.pk), "check_type": "goodbye_timeout", "error": "refused"}]
    )
    make_token(client="assistant", scopes=["send"], now=NOW)
    pause_sending(backend="console", until=NOW, reason="test", now=NOW)
    client, waiting_urls, seen = account_with(*permissions), ["/admin/"], set()
    while waiting_urls:
        url = waiting_urls.pop()
        if url.startswith("/admin/") and "logout" not in url and url not in seen and "?" not in url:
            seen.add(url)
            waiting_urls += links_of(client, url)
    assert any(url.count("/") > 4 for url in seen)


def test_action_leads_back_to_what_the_account_may_see(
    account_with: Callable[..., Client], waiting: UserProfile
) -> None:
    message = EngagementMessage.objects.get()
    client = account_with(MESSAGES, "cancel_message")
    response = client.post(act_url(message, "cancel"), follow=True)
    assert response.redirect_chain == [(page_url(message), 302)]
    assert response.status_code == 200


def test_user_is_named_without_a_link_for_accounts_that_may_not_see_users(
    account_with: Callable[..., Client], waiting: UserProfile
) -> None:
    page = text_of(account_with(MESSAGES), list_url(EngagementMessage))
    assert f'<span title="{waiting.pk}">9990' in page
    assert page_url(waiting) not in page


def test_tiles_have_no_links_without_the_permission_to_see_users(
    account_with: Callable[..., Client], waiting: UserProfile
) -> None:
    client = account_with(STATES, TRANSITIONS, MESSAGES, RUNS)
    context = client.get("/admin/").context_data or {}
    assert {tile.url for tile in (*context["states"], *context["due"])} == {""}
    assert list_url(UserProfile) not in text_of(client, "/admin/")
