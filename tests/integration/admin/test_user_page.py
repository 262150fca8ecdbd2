"""The page of a user: state, next step, profile, history and messages. Real requests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time
from uuid_utils.compat import uuid7

from engagement import message_catalogue as messages
from engagement.admin.people.history import MAX_SHOWN
from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.inbound_messages import receive_message
from engagement.services.preferences import opt_out
from engagement.services.state_machine import transition_state
from engagement.states import State, Trigger
from tests.database import execute
from tests.factories import NOW, EngagementMessageFactory, make_user, queue_for
from tests.integration.admin.many_rows import fill_history_of
from tests.integration.admin.pages import (
    act_url,
    cell,
    link_to,
    list_url,
    page_url,
    rows_of,
    sentences,
    text_of,
)
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

PORTUGUESE = "1. Ficou confuso, queria uma ajuda"
ENGLISH = "1. It got confusing, I could use some help"
NO_LANGUAGE = "the language is unknown because the user has no profile"
INACTIVITY = f"{Trigger.INACTIVITY_14D.label}: {State.ACTIVE.label} → {State.GOODBYE_SENT.label}".capitalize()


def facts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def headline_of(page: str) -> str:
    """The headline with the label beside it."""
    headline = page.partition('<p class="engagement-headline">')[2].partition("</p>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", headline).split())


@freeze_time(NOW + timedelta(hours=5))
def test_page_of_a_waiting_user_shows_state_next_step_dates_and_history(viewer: Client) -> None:
    user = make_user("silent")
    run_job(now=NOW)
    page = text_of(viewer, page_url(user.user))
    waiting = State.GOODBYE_SENT.label.capitalize()
    assert headline_of(page) == f"{waiting}, times out 4 March 2026, 06:00 UTC Goodbye: not sent yet"
    assert "5 March 2026, 06:00 UTC" in page.partition('"engagement-next-step">')[2].partition("</p>")[0]
    facts = facts_of(page)
    assert facts["Goodbye queued"] == "2 March 2026, 06:00 UTC (5 hours ago)"
    assert facts["Reply expected until"] == "4 March 2026, 06:00 UTC (in 1 day)"
    assert "Reminder due" not in facts
    assert INACTIVITY in page
    assert "inactive for 14 days" in page


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"status": "pending"}, "not sent yet"),
        ({"status": "sending"}, "being sent"),
        ({"status": "unknown"}, "perhaps sent"),
        ({"status": "failed"}, "failed"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "sent"}, "sent"),
        ({"status": "sent", "failed_at": NOW}, "not delivered"),
        ({"status": "sent", "delivered_at": NOW}, "delivered"),
        ({"status": "sent", "delivered_at": NOW, "read_at": NOW, "failed_at": NOW}, "read"),
        ({"status": "sent", "created_at": NOW - timedelta(days=30)}, "not in the queue"),
    ],
)
def test_fate_of_the_goodbye_is_beside_the_state(
    viewer: Client, fields: dict[str, object], fate: str
) -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE, **{"created_at": NOW, **fields})
    queue_for(user, MessageType.WELCOME)
    assert headline_of(text_of(viewer, page_url(user.user))).endswith(f"Goodbye: {fate}")
    assert cell(text_of(viewer, list_url(UserProfile)), "goodbye").startswith(fate)
    UserEngagementState.objects.update(state="active")
    assert "Goodbye" not in headline_of(text_of(viewer, page_url(user.user)))


def test_goodbye_of_the_day_is_that_of_the_wait(viewer: Client) -> None:
    user = make_user("goodbye_sent")
    assert user.goodbye_sent_at
    key = goodbye_key(user.user_id, now=user.goodbye_sent_at)
    queue_for(
        user,
        MessageType.GOODBYE,
        status="sent",
        idempotency_key=key,
        created_at=user.goodbye_sent_at - timedelta(hours=1),
    )
    assert headline_of(text_of(viewer, page_url(user.user))).endswith("Goodbye: sent")


@freeze_time(NOW)
def test_page_shows_the_start_of_the_state_and_the_last_message(viewer: Client) -> None:
    user = make_user("remind_later")
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW - timedelta(days=3))
    UserEngagementState.objects.update(last_activity_at=NOW - timedelta(hours=5))
    page = text_of(viewer, page_url(user.user))
    assert headline_of(page) == (
        "Active since 27 February 2026, 06:00 UTC, last message 5 hours ago (2 March 2026, 01:00 UTC)"
    )
    assert facts_of(page)["In this state since"] == "27 February 2026, 06:00 UTC (3 days ago)"
    assert facts_of(page)["Last message"] == "2 March 2026, 01:00 UTC (5 hours ago)"


@freeze_time(NOW)
def test_reply_is_not_denied_beside_the_state_it_made(viewer: Client) -> None:
    user = make_user("goodbye_sent", last_activity_at=NOW - timedelta(days=20))
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_1, now=NOW - timedelta(hours=5))
    page = text_of(viewer, page_url(user.user))
    assert headline_of(page) == (
        "Getting help since 2 March 2026, 01:00 UTC,"
        " last message other than a reply 20 days ago (10 February 2026, 06:00 UTC)"
    )
    assert facts_of(page)["Last message other than a reply"].startswith("10 February 2026")
    assert "Last message" not in facts_of(page)


@pytest.mark.parametrize(
    ("fields", "headline"),
    [
        ({"created_at": NOW - timedelta(days=9)}, "Active since 21 February 2026, 06:00 UTC"),
        ({"state": "dormant"}, "Dormant, last message other than a reply"),
    ],
)
def test_start_of_a_state_without_transitions_is_shown_where_it_is_known(
    viewer: Client, fields: dict[str, object], headline: str
) -> None:
    assert headline in text_of(viewer, page_url(make_user(**fields).user))


@freeze_time(NOW)
def test_state_of_a_waiting_user_without_transitions_starts_with_the_goodbye(viewer: Client) -> None:
    facts = facts_of(text_of(viewer, page_url(make_user("goodbye_sent").user)))
    assert (
        facts["In this state since"] == facts["Goodbye queued"] == "28 February 2026, 05:59 UTC (2 days ago)"
    )


def test_transition_to_another_state_is_not_the_start_of_this_one(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.update(state="help_flow")
    headline = headline_of(text_of(viewer, page_url(user.user)))
    assert headline.lower().startswith(f"{State.HELP_FLOW.label}, last message other than a reply")


def test_message_is_shown_in_the_users_language(viewer: Client) -> None:
    users = [make_user("silent", user__locale=locale) for locale in ("pt-BR", "en-GB")]
    run_job()
    for user, text in zip(users, (PORTUGUESE, ENGLISH), strict=True):
        assert text in text_of(viewer, page_url(user.user))
        assert text in text_of(viewer, page_url(user.user.engagement_messages.get()))
    unknown = EngagementMessageFactory.create(user_id=uuid7(), message_type=MessageType.GOODBYE)
    assert NO_LANGUAGE in text_of(viewer, page_url(unknown))


def test_number_in_a_message_is_masked(
    viewer: Client, support: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_texts", dict(messages._texts))
    messages.register_message(key="assistant.call", text="Call %(number)s, please.")
    user = make_user()
    params = {"number": "+55 11 99999-0042"}
    message = queue_for(user, MessageType.WELCOME, message_key="assistant.call", message_params=params)
    for url in (page_url(user.user), page_url(message)):
        assert "Call +55 11 99999-0042, please." in text_of(support, url)
        assert "Call [number], please." in text_of(viewer, url)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"message_key": "another.program"}, "The text of another.program belongs to another program."),
        ({"message_params": {"name": "x"}}, "needs other parameters."),
        ({"message_params": ["no", "names"]}, "1."),
        ({"error_message": "<script>alert(1)</script>", "status": "failed"}, "<script>alert(1)</script>"),
    ],
)
def test_page_shows_messages_of_other_programs(viewer: Client, fields: dict[str, object], shown: str) -> None:
    user = make_user()
    queue_for(user, MessageType.WELCOME, **fields)
    assert shown in text_of(viewer, page_url(user.user))


def test_texts_of_other_programs_are_escaped(viewer: Client) -> None:
    user = make_user(user__locale="<script>alert(1)</script>")
    assert "<script>alert(1)" not in viewer.get(page_url(user.user)).content.decode()


def test_user_without_a_state_has_a_page(viewer: Client) -> None:
    page = text_of(viewer, page_url(UserProfile.objects.create()))
    assert headline_of(page) == "No messages yet"
    assert "no address" in page
    assert "No history yet." in page


@freeze_time(NOW)
def test_next_step_of_an_opted_out_user_gives_the_reason(viewer: Client) -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    page = text_of(viewer, page_url(user.user))
    assert "opted out" in page.partition('"engagement-next-step">')[2].partition("</p>")[0]


def test_profile_is_read_once(viewer: Client) -> None:
    url = page_url(make_user().user)
    with CaptureQueriesContext(connection) as queries:
        text_of(viewer, url)
    assert sum('FROM "user_profiles"' in query["sql"] for query in queries) == 1


def test_long_history_is_cut(viewer: Client) -> None:
    user = make_user()
    for count, is_cut in ((MAX_SHOWN, False), (1, True)):
        fill_history_of(user.user_id, count)
        page = text_of(viewer, page_url(user.user))
        assert (page.count("engagement-bubble"), page.count("engagement-event")) == (MAX_SHOWN, 2 * MAX_SHOWN)
        assert ("Only the latest entries are shown." in page) == is_cut
        assert ("Only the latest messages are shown." in page) == is_cut


@pytest.mark.parametrize(
    ("model", "label"), [(EngagementStateTransition, "Full history"), (EngagementMessage, "All messages")]
)
def test_page_links_the_lists_of_the_user(
    viewer: Client, model: type[EngagementStateTransition | EngagementMessage], label: str
) -> None:
    for count, user in enumerate((make_user(), make_user())):
        fill_history_of(user.user_id, count)
        url = f"{list_url(model)}?user__exact={user.user_id}"
        assert f'<a class="engagement-link" href="{url}">{label}</a>' in text_of(viewer, page_url(user.user))
        assert len(rows_of(viewer, url)) == count


def test_deleted_user_has_a_page_with_what_remains(support: Client) -> None:
    user = make_user("silent")
    run_job()
    message = queue_for(user, MessageType.WELCOME)
    execute("DELETE FROM user_engagement_states")
    execute("DELETE FROM user_profiles")
    url = page_url(user.user)
    for model in (EngagementStateTransition, EngagementMessage):
        assert url in text_of(support, list_url(model))
    page = text_of(support, url)
    assert headline_of(page) == "No profile (deleted or never stored): this page shows what remains"
    assert INACTIVITY in page
    assert NO_LANGUAGE in page
    assert "/act/bring_back/" not in page
    response = support.post(act_url(message, "cancel"), follow=True)
    assert sentences(response) == ["Cancel this message: cancelled."]


def test_each_message_has_a_link_to_its_page(viewer: Client) -> None:
    user = make_user()
    shown = [queue_for(user, kind) for kind in (MessageType.WELCOME, MessageType.GOODBYE)]
    page = text_of(viewer, page_url(user.user))
    for message in shown:
        assert page.count(link_to(message, message.get_message_type_display())) == 1


@pytest.mark.parametrize(
    ("count", "text"), [(1, "· 1 failed attempt<"), (2, "· 2 failed attempts<"), (0, "")]
)
def test_failed_attempts_of_a_message_are_counted(viewer: Client, count: int, text: str) -> None:
    message = queue_for(make_user(), MessageType.GOODBYE, retry_count=count)
    page = text_of(viewer, page_url(message.user))
    assert (text in page, bool(re.search(r"\d failed att", page))) == (True, bool(count))


def test_user_without_a_number_is_named_by_a_short_id(viewer: Client) -> None:
    profile = UserProfile.objects.create(pk="00000000-0000-4000-8000-0000fa61a803")
    page = text_of(viewer, page_url(profile))
    assert re.search(rf'<a href="{page_url(profile)}"[^>]*>\s*…fa61a803\s*</a>', page)
    assert re.search(r'<a href="/admin/engagement/userprofile/"[^>]*>\s*Users\s*</a>', page)
    assert re.search(r"<title>\s*User …fa61a803 \|", page)


@pytest.mark.parametrize("key", ["0195c0de-0000-7000-8000-000000000000", "anna", "<script>"])
def test_unknown_user_is_said_on_a_page(viewer: Client, key: str) -> None:
    response = viewer.get(f"/admin/engagement/userprofile/{key}/change/")
    assert response.status_code == 404
    page = response.content.decode()
    assert "There is no user with this ID: it is mistyped, or the user was erased." in page
    assert f'href="{list_url(UserProfile)}"' in page
    assert "<script>/change" not in page
    assert not UserEngagementState.objects.exists()


def test_same_text_is_shown_once(viewer: Client) -> None:
    user = make_user()
    for _ in range(3):
        queue_for(user, MessageType.GOODBYE)
    page = text_of(viewer, page_url(user.user))
    assert page.count("Same text as above") == 2
    assert page.count("<details") == page.count("</details>") == 2


@pytest.mark.parametrize(
    ("opt", "title"),
    [
        (
            lambda user: receive_message(user_id=user.user_id, text="Parar", received_at=NOW, now=NOW),
            "Opted out by message",
        ),
        (lambda user: opt_out(user_id=user.user_id, now=NOW), "Opted out by another program"),
        (
            lambda _user: UserProfile.objects.update(reengagement_opt_out=True, opt_out_changed_at=NOW),
            "Opted out<",
        ),
    ],
)
def test_opt_out_is_in_the_history(
    viewer: Client, opt: Callable[[UserEngagementState], object], title: str
) -> None:
    user = make_user()
    opt(user)
    page = text_of(viewer, page_url(user.user))
    assert title in page.partition("engagement-timeline")[2].partition("</ol>")[0]


@freeze_time(NOW)
def test_opt_out_by_support_is_in_the_history_once(support: Client) -> None:
    user = make_user()
    support.post(act_url(user.user, "opt_out"))
    timeline = text_of(support, page_url(user.user)).partition("engagement-timeline")[2].partition("</ol>")[0]
    assert timeline.count("Opted out") == 1
