"""The one list of users: names, columns, order and quick filters. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.services.state_machine import transition_state
from engagement.services.support import bring_back
from engagement.states import State, Trigger
from tests.database import execute
from tests.factories import NOW, make_user, make_users, queue_for
from tests.integration.admin.pages import act_url, cell, choose, list_url, page_url, rows_of, text_of
from tests.times import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]

JID: Final = "5511999990042@s.whatsapp.net"
MASKED: Final = "5511•••••0042"
USERS: Final = list_url(UserProfile)
BY_LAST_MESSAGE: Final = "4"
"""The number of the column."""
STATE: Final = "engagement_state__state__exact"


def quick_links(client: Client) -> dict[str, str]:
    page = text_of(client, USERS)
    nav = page.partition('class="engagement-quick"')[2].partition("</nav>")[0]
    return {label: url for url, label in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', nav)}


def test_row_tells_what_support_asks_for(viewer: Client) -> None:
    user = make_user("goodbye_sent", user__whatsapp_jid=JID, user__reengagement_opt_out=True)
    queue_for(user, MessageType.GOODBYE, status="failed", created_at=NOW)
    page = text_of(viewer, USERS)
    assert cell(page, "person") == MASKED
    assert cell(page, "state_label") == "waiting for reply"
    assert cell(page, "goodbye") == "failed less than a minute ago"
    assert cell(page, "last_message") == "17 days ago"
    assert cell(page, "is_opted_out") == "opted out"
    assert f'title="{user.user_id}"' in page
    assert 'title="13 February 2026, 06:00 UTC"' in viewer.get(USERS).content.decode()
    assert "Goodbye sent" not in page


def test_user_without_a_number_has_a_short_id(viewer: Client) -> None:
    user = make_user(user__whatsapp_jid=None)
    assert cell(text_of(viewer, USERS), "person") == f"…{str(user.user_id)[-8:]}"


def test_no_page_shows_a_bare_id_of_a_user(viewer: Client, support: Client) -> None:
    user = make_user("goodbye_sent", user__whatsapp_jid=JID)
    message = queue_for(user, MessageType.GOODBYE)
    transition = EngagementStateTransition.objects.create(
        user=user.user, from_state="active", to_state="goodbye_sent", trigger="inactivity_14d"
    )
    pages = [
        *map(list_url, (UserProfile, EngagementMessage, EngagementStateTransition)),
        page_url(transition),
        *(page_url(message), page_url(user.user)),
    ]
    for url in pages:
        page = text_of(viewer, url)
        # What is collapsed or a fact of its own.
        page = re.sub(r"<d[dt]>.*?</d[dt]>", "", page, flags=re.DOTALL)
        visible = re.sub(r"<[^>]*>", " ", page.partition("<body")[2].partition("<script")[0])
        assert str(user.user_id) not in visible, url
        assert MASKED in page, url
        assert JID.partition("@")[0] not in page, url
    question = text_of(support, act_url(message, "cancel"))
    assert "Cancel this message: Goodbye to 5511999990042" in question


def test_confirmation_names_the_masked_number_and_the_state(account_with: Callable[..., Client]) -> None:
    user = make_user("dormant", user__whatsapp_jid=JID)
    client = account_with("view_userprofile", "view_userengagementstate", "change_opt_out", "bring_back")
    page = text_of(client, act_url(user.user, "opt_out"))
    assert f"Opt out: {MASKED}" in page
    assert f"{MASKED} (dormant)" in page
    assert "Queued ones will be cancelled." in " ".join(page.split())
    assert "bg-red-600" in page
    two = choose(client, UserProfile, "bring_back", user.user, make_user("dormant").user).content.decode()
    assert "Mark as active: 2 selected" in two


def test_users_are_sorted_by_their_last_message(viewer: Client) -> None:
    old, new = (make_user(last_activity_at=NOW - days * DAY) for days in (9, 1))
    never = UserProfile.objects.create()
    for order, users in (("", [never, new.user, old.user]), ("-", [new.user, old.user])):
        assert rows_of(viewer, USERS, **({"o": f"{order}{BY_LAST_MESSAGE}"} if order else {})) == users
    assert rows_of(viewer, USERS, o=BY_LAST_MESSAGE) == [old.user, new.user]
    page = text_of(viewer, USERS, o=BY_LAST_MESSAGE)
    assert "users who have not written yet are not in the list" in page
    assert "Newest first." not in page


def test_headers_of_the_list_sort_it(viewer: Client) -> None:
    make_user()
    page = text_of(viewer, USERS)
    sortable = re.findall(r'<th[^>]*sortable[^"]*column-(\w+)', page)
    assert sortable == ["last_message", "first_seen"]
    assert f'href="?o={BY_LAST_MESSAGE}' in page


@pytest.mark.parametrize(
    "query", [{"due": "any"}, {STATE: ["dormant", "active"]}, {"reengagement_opt_out__exact": "0"}]
)
def test_list_is_not_sorted_where_no_index_has_the_order(viewer: Client, query: dict[str, Any]) -> None:
    make_user("silent")
    page = text_of(viewer, USERS, **query, o=BY_LAST_MESSAGE)
    assert "have not written yet" not in page
    assert "Newest first." in page
    assert "column-last_message" in page
    assert not re.search(r'<th[^>]*sortable[^"]*column-last_message', page)


@pytest.mark.parametrize("query", [{}, {STATE: "dormant"}, {STATE: "active"}])
def test_order_by_last_message_uses_an_index(viewer: Client, query: dict[str, str]) -> None:
    make_users(1000, "dormant")
    make_users(1000)
    execute(
        "UPDATE user_engagement_states SET last_activity_at = last_activity_at - random() * interval '1 day'"
    )
    execute("ANALYZE user_engagement_states, user_profiles")
    response = viewer.get(USERS, {**query, "o": f"-{BY_LAST_MESSAGE}"})
    plan = response.context["cl"].queryset[:50].explain()
    assert "Sort Key" not in plan or "Presorted" in plan, plan


def test_who_was_marked_as_active_by_the_team_did_not_come_back(viewer: Client) -> None:
    came_back, brought_back = make_users(2, "dormant")
    transition_state(user_id=came_back.user_id, trigger=Trigger.USER_MESSAGE, now=NOW)
    bring_back(user_id=brought_back.user_id, performed_by="ada", now=NOW)
    rows = rows_of(viewer, USERS, came_back="7")
    assert len(rows) == 1


def test_quick_filters_find_their_users(viewer: Client) -> None:
    due = make_user("silent")
    waiting = make_user("goodbye_sent", goodbye_sent_at=NOW, goodbye_expires_at=NOW + 2 * DAY)
    failed = make_user("dormant")
    queue_for(failed, MessageType.GOODBYE, status="failed")
    opted_out = make_user(user__reengagement_opt_out=True, user__opt_out_changed_at=NOW - DAY)
    make_user(user__reengagement_opt_out=True, user__opt_out_changed_at=NOW - 30 * DAY)
    back, gone_again = make_user("dormant"), make_user("dormant")
    for user in (back, gone_again):
        transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW - DAY)
    UserEngagementState.objects.filter(pk=gone_again.pk).update(state=State.DORMANT)
    links = quick_links(viewer)
    expected = {
        "Due at the next run": due,
        "Waiting for a reply": waiting,
        "Message failed": failed,
        "Opted out this week": opted_out,
        "Came back this week": back,
    }
    assert links.keys() == {"All", *expected}
    for label, user in expected.items():
        assert rows_of(viewer, USERS + links[label]) == [user.user], label
        page = text_of(viewer, USERS + links[label])
        assert f'aria-current="page">{label}<' in page


@pytest.mark.parametrize(
    ("permissions", "labels"),
    [
        ([], {"All", "Opted out this week"}),
        (["view_engagementmessage"], {"All", "Opted out this week", "Message failed"}),
    ],
)
def test_quick_filters_reveal_nothing_hidden(
    account_with: Callable[..., Client], permissions: list[str], labels: set[str]
) -> None:
    client = account_with("view_userprofile", *permissions)
    assert quick_links(client).keys() == labels
    for query in ({"due": "any"}, {"came_back": "7"}, {STATE: "dormant"}):
        assert client.get(USERS, query).status_code == 400
    assert client.get(USERS, {"message": "failed"}).status_code == (200 if permissions else 400)


def test_unknown_filter_says_that_nobody_matches(viewer: Client) -> None:
    make_user()
    for model, query, sentence in (
        (UserProfile, {STATE: "xyz"}, "No users match."),
        (EngagementMessage, {"status": "xyz"}, "No messages match."),
        (EngagementMessage, {"status__exact": "xyz"}, "No messages match."),
    ):
        assert sentence in text_of(viewer, list_url(model), **query)


def test_name_of_a_user_is_never_long(support: Client) -> None:
    user = make_user(user__whatsapp_jid=f"{'5' * 305}@s.whatsapp.net").user
    page = text_of(support, USERS)
    assert f"{'5' * 29}…<" in page
    assert "5" * 30 not in page
    assert "5" * 305 in text_of(support, page_url(user))
