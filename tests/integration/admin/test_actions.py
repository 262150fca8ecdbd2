"""What may be done by hand: each asks before, tells after and leaves a name. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from freezegun import freeze_time
from uuid_utils.compat import uuid7

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserProfile
from tests.factories import NOW, EngagementMessageFactory, make_user, make_users, queue_for
from tests.integration.admin.pages import act_url, choose, levels, list_url, page_url, sentences, text_of

if TYPE_CHECKING:
    from django.db.models import Model

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db

SUPPORTER = "somebody of Engagement support"


def act(client: Client, row: Model, action: str) -> list[str]:
    """Answer yes on the page that asks, and read the report."""
    assert "keeps your name" in text_of(client, act_url(row, action))
    return sentences(client.post(act_url(row, action), follow=True))


def status_of(message: EngagementMessage) -> str:
    message.refresh_from_db()
    return message.status


@pytest.fixture
def waiting() -> UserEngagementState:
    """Somebody who was told goodbye an hour ago."""
    return make_user("goodbye_sent", goodbye_sent_at=NOW, goodbye_expires_at=NOW.replace(year=2100))


@freeze_time(NOW)
def test_user_is_brought_back(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE)
    assert act(support, waiting.user, "bring_back") == [
        "Bring back: brought back; 1 pending message cancelled."
    ]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.last_activity_at) == ("active", NOW)
    assert status_of(goodbye) == "cancelled"
    move = EngagementStateTransition.objects.get()
    assert (move.trigger, move.created_at) == ("user_message", NOW)
    assert move.metadata["performed_by"] == SUPPORTER
    assert move.metadata["trigger_source"] == "user_message"
    assert SUPPORTER in text_of(support, page_url(waiting.user))


def test_active_user_is_not_brought_back(support: Client) -> None:
    user = make_user()
    assert act(support, user.user, "bring_back") == ["Bring back: active already and left alone."]
    assert not EngagementStateTransition.objects.exists()
    heard_of_at = user.last_activity_at
    user.refresh_from_db()
    assert user.last_activity_at == heard_of_at


def test_user_without_a_state_is_not_brought_back(support: Client) -> None:
    profile = UserProfile.objects.create()
    (sentence,) = act(support, profile, "bring_back")
    assert "without a state" in sentence


@freeze_time(NOW)
def test_user_is_opted_out_and_in(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE)
    assert act(support, waiting.user, "opt_out") == ["Opt out: opted out; 1 pending message cancelled."]
    profile = UserProfile.objects.get()
    assert (profile.reengagement_opt_out, profile.opt_out_changed_at) == (True, NOW)
    assert status_of(goodbye) == "cancelled"
    assert act(support, waiting.user, "opt_out") == [
        "Opt out: left alone, because they had opted out already."
    ]
    assert act(support, waiting.user, "opt_in") == ["Opt in: opted in."]
    assert act(support, waiting.user, "opt_in") == ["Opt in: left alone, because they had not opted out."]
    assert not UserProfile.objects.get().reengagement_opt_out
    page = text_of(support, page_url(waiting.user))
    assert "Opted the user out; 1 pending message cancelled." in page
    assert f"by {SUPPORTER}" in page
    assert LogEntry.objects.count() == 2


def test_all_pending_messages_of_a_user_are_cancelled(support: Client, waiting: UserEngagementState) -> None:
    welcome = queue_for(waiting, MessageType.WELCOME)
    sent = queue_for(waiting, MessageType.GOODBYE, status="sent")
    assert act(support, waiting.user, "cancel_all") == [
        "Cancel pending messages: 1 pending message cancelled."
    ]
    assert (status_of(welcome), status_of(sent)) == ("cancelled", "sent")
    assert act(support, waiting.user, "cancel_all") == ["Cancel pending messages: nothing is pending."]
    assert "Cancelled 1 pending message." in text_of(support, page_url(waiting.user))


def test_one_message_is_cancelled_unless_it_was_sent(support: Client, waiting: UserEngagementState) -> None:
    welcome = queue_for(waiting, MessageType.WELCOME)
    sent = queue_for(waiting, MessageType.GOODBYE, status="sent")
    assert act(support, welcome, "cancel") == ["Cancel message: cancelled."]
    assert act(support, sent, "cancel") == ["Cancel message: left alone, because it is not pending."]
    assert (status_of(welcome), status_of(sent)) == ("cancelled", "sent")
    assert LogEntry.objects.count() == 1


@freeze_time(NOW)
def test_failed_message_is_queued_again(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE, status="failed", error_message="busy", retry_count=3)
    key = goodbye.idempotency_key
    assert act(support, goodbye, "retry") == ["Queue again: queued again."]
    goodbye.refresh_from_db()
    assert (goodbye.status, goodbye.scheduled_for, goodbye.error_message) == ("pending", NOW, None)
    assert (goodbye.idempotency_key, goodbye.retry_count) == (key, 3)
    link = f'<a class="engagement-link" href="{page_url(goodbye)}">{goodbye.pk}</a>'
    assert f"Queued again: goodbye {link}." in text_of(support, page_url(waiting.user))


def test_failed_message_that_makes_no_sense_any_more_is_left_alone_with_the_reason(
    support: Client, waiting: UserEngagementState
) -> None:
    unwanted = queue_for(
        make_user(user__reengagement_opt_out=True), MessageType.WEEKLY_REVIEW, status="failed"
    )
    outdated = queue_for(make_user("dormant"), MessageType.GOODBYE, status="failed")
    sent = queue_for(waiting, MessageType.GOODBYE, status="sent")
    assert [act(support, message, "retry") for message in (unwanted, outdated, sent)] == [
        ["Queue again: left alone, because the user opted out."],
        ["Queue again: left alone, because the user does not wait for a goodbye any more."],
        ["Queue again: left alone, because it has not failed."],
    ]
    assert [status_of(message) for message in (unwanted, outdated, sent)] == ["failed", "failed", "sent"]
    assert not LogEntry.objects.exists()


def test_report_tells_what_became_of_each(support: Client) -> None:
    dormant = make_users(2, "dormant")
    active = make_user()
    for number in (0, 0, 1):
        queue_for(dormant[number], MessageType.GOODBYE)
    profiles = [user.user for user in (*dormant, active)]
    asked = choose(support, UserProfile, "bring_back", *profiles)
    assert not EngagementStateTransition.objects.exists()
    assert all(str(profile.pk) in asked.content.decode() for profile in profiles)
    told = choose(support, UserProfile, "bring_back", *profiles, confirmed="yes")
    assert list(zip(levels(told), sentences(told), strict=True)) == [
        ("success", "Bring back: brought back (2); 3 pending messages cancelled."),
        ("warning", "Bring back: active already and left alone (1)."),
    ]


def test_report_on_one_tells_whether_anything_was_done(support: Client) -> None:
    message = queue_for(make_user(), MessageType.WELCOME)
    url = act_url(message, "cancel")
    assert levels(support.post(url, follow=True)) == ["success"]
    assert levels(support.post(url, follow=True)) == ["warning"]


@pytest.mark.parametrize("confirmed", [{}, {"confirmed": "yes"}])
@pytest.mark.parametrize("action", ["cancel", "download"])
def test_choice_that_left_the_list_meanwhile_is_told_so(
    support: Client, action: str, confirmed: dict[str, str]
) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, status="sent")
    data = {"action": action, "_selected_action": [str(message.pk)], **confirmed}
    told = support.post(f"{list_url(EngagementMessage)}?status__exact=pending", data, follow=True)
    assert list(zip(levels(told), sentences(told), strict=True)) == [
        ("warning", "Nothing was done: what you chose is no longer in this list.")
    ]


def test_part_of_a_choice_that_left_the_list_meanwhile_is_told_so(support: Client) -> None:
    sent, pending = (
        queue_for(make_user(), MessageType.WELCOME, status=status) for status in ("sent", "pending")
    )
    data = {"action": "cancel", "_selected_action": [str(sent.pk), str(pending.pk)], "confirmed": "yes"}
    told = support.post(f"{list_url(EngagementMessage)}?status__exact=pending", data, follow=True)
    assert list(zip(levels(told), sentences(told), strict=True)) == [
        ("success", "Cancel message: cancelled."),
        ("warning", "Cancel message: 1 row of your choice left alone: no longer in this list."),
    ]
    assert status_of(pending) == "cancelled"


def test_message_of_a_user_without_a_profile_is_left_alone_and_has_a_page_to_go_back_to(
    support: Client,
) -> None:
    message = EngagementMessageFactory.create(
        user_id=uuid7(), message_type=MessageType.GOODBYE, status="failed"
    )
    assert f'href="{page_url(message)}"' in text_of(support, act_url(message, "retry"))
    told = support.post(act_url(message, "retry"), follow=True)
    assert told.redirect_chain == [(page_url(message), 302)]
    assert sentences(told) == [
        "Queue again: left alone, because nothing is known of the user, nor whether they opted out."
    ]
    assert status_of(message) == "failed"


def test_state_is_acted_on_by_its_user(support: Client) -> None:
    dormant = make_user("dormant")
    choose(support, type(dormant), "bring_back", dormant, confirmed="yes")
    dormant.refresh_from_db()
    assert dormant.state == "active"


@pytest.mark.parametrize(("action", "label"), [("cancel", "Cancel message"), ("retry", "Queue again")])
def test_yes_and_no_are_told_apart(
    support: Client, waiting: UserEngagementState, action: str, label: str
) -> None:
    message = queue_for(waiting, MessageType.GOODBYE)
    page = text_of(support, act_url(message, action))
    title, heading, yes = (
        re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL) for tag in ("title", "h2", "button")
    )
    assert title[0].strip().startswith(f"{label} |")
    assert label in map(str.strip, heading)
    assert label in map(str.strip, yes)
    no = re.findall(rf'<a href="{page_url(message.user)}"[^>]*>(.*?)</a>', page, re.DOTALL)
    assert [text.strip() for text in no] == ["No, go back"]


def test_nobody_is_acted_on_before_the_question_is_answered(
    support: Client, waiting: UserEngagementState
) -> None:
    for action in ("bring_back", "opt_out", "opt_in", "cancel_all"):
        assert support.get(act_url(waiting.user, action)).status_code == 200
    waiting.refresh_from_db()
    assert waiting.state == "goodbye_sent"
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("action", ["bring_back", "opt_out", "opt_in", "cancel_all"])
def test_viewer_may_not_act_on_users(viewer: Client, waiting: UserEngagementState, action: str) -> None:
    assert viewer.get(act_url(waiting.user, action)).status_code == 403
    assert viewer.post(act_url(waiting.user, action)).status_code == 403
    choose(viewer, UserProfile, action, waiting.user, confirmed="yes")
    waiting.refresh_from_db()
    assert waiting.state == "goodbye_sent"
    assert not UserProfile.objects.get().reengagement_opt_out
    assert not LogEntry.objects.exists()
    for page in (page_url(waiting.user), list_url(UserProfile)):
        assert f'value="{action}"' not in text_of(viewer, page)
        assert f"/act/{action}/" not in text_of(viewer, page)


@pytest.mark.parametrize(("action", "status"), [("cancel", "pending"), ("retry", "failed")])
def test_viewer_may_not_act_on_messages(
    viewer: Client, waiting: UserEngagementState, action: str, status: str
) -> None:
    message = queue_for(waiting, MessageType.GOODBYE, status=status)
    assert viewer.post(act_url(message, action)).status_code == 403
    choose(viewer, EngagementMessage, action, message, confirmed="yes")
    assert status_of(message) == status
    assert f"/act/{action}/" not in text_of(viewer, page_url(waiting.user))


def test_nobody_acts_on_a_user_whom_they_may_not_see(client: Client, waiting: UserEngagementState) -> None:
    person = User.objects.create_user("acts blindly", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="bring_back"))
    client.force_login(person)
    assert client.get(act_url(waiting.user, "bring_back")).status_code == 403
    assert client.post(act_url(waiting.user, "bring_back")).status_code == 403
    waiting.refresh_from_db()
    assert waiting.state == "goodbye_sent"


@pytest.mark.parametrize("action", ["bring_back", "opt_out", "cancel_all"])
def test_each_action_has_a_permission_of_its_own(
    viewer: Client, waiting: UserEngagementState, action: str
) -> None:
    codename = {"bring_back": "bring_back", "opt_out": "change_opt_out", "cancel_all": "cancel_message"}
    User.objects.get().user_permissions.add(Permission.objects.get(codename=codename[action]))
    for other in codename:
        expected = 200 if other == action else 403
        assert viewer.get(act_url(waiting.user, other)).status_code == expected


def test_action_that_does_not_exist_is_refused(support: Client, waiting: UserEngagementState) -> None:
    assert support.post(act_url(waiting.user, "delete")).status_code == 403


def test_form_without_its_token_is_refused(waiting: UserEngagementState) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(act_url(waiting.user, "bring_back")).status_code == 403
