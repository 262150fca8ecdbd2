"""One page tells all there is to know of a user."""

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
from engagement.admin.user_page import SHOWN
from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.database import execute
from tests.factories import NOW, EngagementMessageFactory, make_user, queue_for
from tests.integration.admin.many_rows import fill_history_of
from tests.integration.admin.pages import act_url, cost_of, list_url, page_url, sentences, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


def facts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def test_goodbye_is_told_in_words(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    with freeze_time(NOW + timedelta(hours=5)):
        page = text_of(viewer, page_url(user.user))
    assert "Goodbye sent 5 hours ago, ends Wednesday 06:00 UTC" in page
    assert "Will become dormant on 5 March 2026, 06:00 UTC unless the user writes." in page
    assert "Inactivity: active → waiting for reply" in page
    assert "silent for 14 days" in page


def test_page_tells_since_when_and_when_the_user_was_last_heard_of(viewer: Client) -> None:
    user = make_user("remind_later")
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW - timedelta(days=3))
    UserEngagementState.objects.update(last_activity_at=NOW - timedelta(hours=5))
    with freeze_time(NOW):
        page = text_of(viewer, page_url(user.user))
    heard_of = "2 March 2026, 01:00 UTC"
    assert f"Active since 27 February 2026, 06:00 UTC, last heard of 5 hours ago ({heard_of})" in page
    assert facts_of(page)["In this state since"] == "27 February 2026, 06:00 UTC (3 days ago)"
    assert facts_of(page)["Last heard of"] == f"{heard_of} (5 hours ago)"


def test_page_tells_the_dates_of_a_goodbye(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    with freeze_time(NOW + timedelta(hours=5)):
        facts = facts_of(text_of(viewer, page_url(user.user)))
    assert facts["Goodbye sent"] == "2 March 2026, 06:00 UTC (5 hours ago)"
    assert facts["Goodbye ends"] == "4 March 2026, 06:00 UTC (in 1 day)"
    assert "To be reminded" not in facts


@pytest.mark.parametrize(
    ("fields", "headline"),
    [
        ({"created_at": NOW - timedelta(days=9)}, "Active since 21 February 2026, 06:00 UTC"),
        ({"state": "dormant"}, "Dormant, last heard of"),
    ],
)
def test_since_when_is_told_of_who_never_moved_only_where_it_is_known(
    viewer: Client, fields: dict[str, object], headline: str
) -> None:
    assert headline in text_of(viewer, page_url(make_user(**fields).user))


def test_since_when_is_told_of_who_was_told_goodbye_without_a_trace(viewer: Client) -> None:
    user = make_user("goodbye_sent")
    with freeze_time(NOW):
        facts = facts_of(text_of(viewer, page_url(user.user)))
    assert facts["In this state since"] == facts["Goodbye sent"] == "28 February 2026, 05:59 UTC (2 days ago)"


def test_since_when_is_not_taken_from_a_move_to_elsewhere(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.update(state="help_flow")
    assert "Getting help, last heard of" in text_of(viewer, page_url(user.user))


def test_message_is_shown_in_the_users_language(viewer: Client) -> None:
    portuguese, english = (make_user("silent", user__locale=locale) for locale in ("pt-BR", "en-GB"))
    run_job()
    assert "1. It got confusing, I could use some help" in text_of(viewer, page_url(english.user))
    assert "1. Ficou confuso, queria uma ajuda" in text_of(viewer, page_url(portuguese.user))


def test_number_in_a_message_is_for_those_who_may_see_addresses(
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


def test_page_of_a_message_shows_its_text_in_the_users_language(viewer: Client) -> None:
    portuguese, english = (make_user("silent", user__locale=locale) for locale in ("pt-BR", "en-GB"))
    run_job()
    pages = [text_of(viewer, page_url(user.user.engagement_messages.get())) for user in (portuguese, english)]
    assert "1. Ficou confuso, queria uma ajuda" in pages[0]
    assert "1. It got confusing, I could use some help" in pages[1]
    unknown = EngagementMessageFactory.create(user_id=uuid7(), message_type=MessageType.GOODBYE)
    assert "in a language that is not known any more" in text_of(viewer, page_url(unknown))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"message_key": "somebody.elses"}, "The text of somebody.elses belongs to another program."),
        ({"message_params": {"name": "x"}}, "needs other parameters than it was given."),
        ({"message_params": ["no", "names"]}, "1."),
        ({"error_message": "<script>alert(1)</script>", "status": "failed"}, "<script>alert(1)</script>"),
    ],
)
def test_strange_message_does_not_break_the_page(
    viewer: Client, fields: dict[str, object], shown: str
) -> None:
    user = make_user()
    queue_for(user, MessageType.WELCOME, **fields)
    assert shown in text_of(viewer, page_url(user.user))


def test_what_another_program_wrote_is_text_and_no_script(viewer: Client) -> None:
    user = make_user(user__locale="<script>alert(1)</script>")
    assert "<script>alert(1)" not in viewer.get(page_url(user.user)).content.decode()


def test_user_without_a_state_is_not_heard_of_yet(viewer: Client) -> None:
    page = text_of(viewer, page_url(UserProfile.objects.create()))
    assert "Not heard of yet" in page
    assert "no address" in page
    assert "Nothing has happened to this user yet." in page


def test_page_tells_why_nothing_happens_to_who_opted_out(viewer: Client) -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    with freeze_time(NOW):
        page = text_of(viewer, page_url(user.user))
    assert "No goodbye will be sent: the user has opted out." in page


def test_page_costs_the_same_however_long_the_history_is(viewer: Client) -> None:
    user = make_user()
    fill_history_of(user.user_id, 2)
    short = cost_of(viewer, page_url(user.user))
    fill_history_of(user.user_id, 9_998)
    assert cost_of(viewer, page_url(user.user)) == short


def test_profile_is_read_once(viewer: Client) -> None:
    url = page_url(make_user().user)
    with CaptureQueriesContext(connection) as queries:
        text_of(viewer, url)
    assert sum('FROM "user_profiles"' in query["sql"] for query in queries) == 1


def test_long_history_is_cut_and_says_so(viewer: Client) -> None:
    user = make_user()
    fill_history_of(user.user_id, SHOWN)
    page = text_of(viewer, page_url(user.user))
    assert (page.count("engagement-bubble"), page.count("engagement-event")) == (SHOWN, 2 * SHOWN)
    assert "Only the latest" not in page
    fill_history_of(user.user_id, 1)
    page = text_of(viewer, page_url(user.user))
    assert (page.count("engagement-bubble"), page.count("engagement-event")) == (SHOWN, 2 * SHOWN)
    assert "Only the latest is shown." in page
    assert "Only the latest are shown." in page


@pytest.mark.parametrize(
    ("model", "label"), [(EngagementStateTransition, "All moves"), (EngagementMessage, "All messages")]
)
def test_page_leads_to_all_there_is_of_the_user(
    viewer: Client, model: type[EngagementStateTransition | EngagementMessage], label: str
) -> None:
    for count, user in enumerate((make_user(), make_user())):
        fill_history_of(user.user_id, count)
        address = f"{list_url(model)}?user__exact={user.user_id}"
        assert f'<a class="engagement-link" href="{address}">{label}</a>' in text_of(
            viewer, page_url(user.user)
        )
        assert viewer.get(address).context["cl"].result_count == count


def test_what_is_kept_of_a_deleted_user_has_a_page(support: Client) -> None:
    user = make_user("silent")
    run_job()
    message = queue_for(user, MessageType.WELCOME)
    execute("DELETE FROM user_engagement_states")
    execute("DELETE FROM user_profiles")
    address = page_url(user.user)
    for model in (EngagementStateTransition, EngagementMessage):
        assert address in text_of(support, list_url(model))
    page = text_of(support, address)
    assert "No profile: deleted, or never stored; what else is kept of them is shown here" in page
    assert "Inactivity: active → waiting for reply" in page
    assert "in a language that is not known any more" in page
    assert "/act/bring_back/" not in page
    assert sentences(support.post(act_url(message, "cancel"), follow=True)) == ["Cancel message: cancelled."]


def test_who_was_never_stored_is_not_said_to_have_been_deleted(viewer: Client) -> None:
    message = EngagementMessageFactory.create(user_id=uuid7(), message_type=MessageType.WELCOME)
    page = text_of(viewer, page_url(UserProfile(pk=message.user_id)))
    assert "No profile: deleted, or never stored" in page


def test_each_message_leads_to_its_page(viewer: Client) -> None:
    user = make_user()
    shown = [queue_for(user, kind) for kind in (MessageType.WELCOME, MessageType.GOODBYE)]
    page = text_of(viewer, page_url(user.user))
    for message in shown:
        link = (
            f'<a class="engagement-link" href="{page_url(message)}">{message.get_message_type_display()}</a>'
        )
        assert page.count(link) == 1


@pytest.mark.parametrize(
    ("count", "words"), [(1, "tried again 1 time<"), (2, "tried again 2 times<"), (0, "")]
)
def test_page_counts_how_often_a_message_was_tried_again(viewer: Client, count: int, words: str) -> None:
    message = queue_for(make_user(), MessageType.GOODBYE, retry_count=count)
    page = text_of(viewer, page_url(message.user))
    assert (words in page, "tried again" in page) == (True, bool(count))


def test_id_is_written_as_it_is(viewer: Client) -> None:
    profile = UserProfile.objects.create(pk="fa61a803-0000-4000-8000-000000000000")
    page = text_of(viewer, page_url(profile))
    assert "Fa61a803" not in page
    assert re.search(rf'<a href="{page_url(profile)}"[^>]*>\s*{profile.pk}\s*</a>', page)
    assert re.search(r'<a href="/admin/engagement/userprofile/"[^>]*>\s*Users\s*</a>', page)


def test_who_is_not_there_has_no_page(viewer: Client) -> None:
    for key in ("0195c0de-0000-7000-8000-000000000000", "somebody"):
        response = viewer.get(f"/admin/engagement/userprofile/{key}/change/", follow=True)
        assert response.redirect_chain[-1][0] == "/admin/"
        assert not UserEngagementState.objects.exists()
