"""Support actions ask for confirmation, report the result and record a name. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError
from django.test import Client
from freezegun import freeze_time
from uuid_utils.compat import uuid7

from engagement.groups import SUPPORT
from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserProfile
from tests.factories import NOW, EngagementMessageFactory, make_user, make_users, queue_for
from tests.integration.admin.pages import (
    OF_USERS,
    act_url,
    choose,
    link_to,
    list_url,
    page_url,
    reports,
    sentences,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.db.models import Model

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db

USER_ACTIONS = ("bring_back", "opt_out", "opt_in", "cancel_all")


def act(client: Client, row: Model, action: str) -> list[str]:
    """Confirm the action, and read the report."""
    assert "Your name will appear in the history." in text_of(client, act_url(row, action))
    return sentences(client.post(act_url(row, action), follow=True))


def status_of(message: EngagementMessage) -> str:
    message.refresh_from_db()
    return message.status


def everything() -> list[list[Any]]:
    """All rows that an action could change or add."""
    return [list(model._default_manager.values()) for model in (*OF_USERS, LogEntry)]


@pytest.fixture
def waiting() -> UserEngagementState:
    """A user with a goodbye that still waits for a reply."""
    return make_user("goodbye_sent", goodbye_sent_at=NOW, goodbye_expires_at=NOW.replace(year=2100))


@freeze_time(NOW)
def test_user_is_marked_as_active(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE)
    assert act(support, waiting.user, "bring_back") == [
        "Mark as active: marked as active; 1 pending message cancelled."
    ]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.last_activity_at) == ("active", NOW)
    assert status_of(goodbye) == "cancelled"
    transition = EngagementStateTransition.objects.get()
    assert (transition.trigger, transition.created_at) == ("user_message", NOW)
    assert transition.metadata["performed_by"] == SUPPORT
    assert transition.metadata["trigger_source"] == "operator"
    page = text_of(support, page_url(waiting.user))
    assert page.count(f"by {SUPPORT}") == page.count("Marked as active") == 1


@freeze_time(NOW)
def test_user_is_opted_out_and_in(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE)
    assert act(support, waiting.user, "opt_out") == ["Opt out: opted out; 1 pending message cancelled."]
    profile = UserProfile.objects.get()
    assert (profile.reengagement_opt_out, profile.opt_out_changed_at) == (True, NOW)
    assert status_of(goodbye) == "cancelled"
    assert act(support, waiting.user, "opt_in") == ["Opt in: opted in."]
    assert not UserProfile.objects.get().reengagement_opt_out
    page = text_of(support, page_url(waiting.user))
    assert "Opted out; 1 pending message cancelled." in page
    assert "Opted in." in page
    assert f"by {SUPPORT}" in page
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("action", "report", "history"),
    [
        (
            "cancel_all",
            "Cancel pending messages: 1 pending message cancelled.",
            "Cancelled 1 pending message.",
        ),
        ("cancel", "Cancel this message: cancelled.", "Cancelled message "),
    ],
)
def test_pending_message_is_cancelled(
    support: Client, waiting: UserEngagementState, action: str, report: str, history: str
) -> None:
    welcome = queue_for(waiting, MessageType.WELCOME)
    sent = queue_for(waiting, MessageType.GOODBYE, status="sent")
    assert act(support, waiting.user if action == "cancel_all" else welcome, action) == [report]
    assert (status_of(welcome), status_of(sent)) == ("cancelled", "sent")
    assert history in text_of(support, page_url(waiting.user))
    assert LogEntry.objects.count() == 1


@freeze_time(NOW)
def test_failed_message_is_queued_again(support: Client, waiting: UserEngagementState) -> None:
    goodbye = queue_for(waiting, MessageType.GOODBYE, status="failed", error_message="busy", retry_count=3)
    key = goodbye.idempotency_key
    assert act(support, goodbye, "retry") == ["Retry: queued again."]
    goodbye.refresh_from_db()
    assert (goodbye.status, goodbye.scheduled_for, goodbye.error_message) == ("pending", NOW, None)
    assert (goodbye.idempotency_key, goodbye.retry_count) == (key, 3)
    link = link_to(goodbye, f"…{str(goodbye.pk)[-8:]}", title=goodbye.pk)
    sentence = f"Retried message {link} (goodbye)."
    assert sentence in text_of(support, page_url(waiting.user))


def unwanted() -> EngagementMessage:
    user = make_user(user__reengagement_opt_out=True)
    return queue_for(user, MessageType.WEEKLY_REVIEW, status="failed")


def without_profile() -> EngagementMessage:
    return EngagementMessageFactory.create(user_id=uuid7(), message_type=MessageType.GOODBYE, status="failed")


def outdated() -> EngagementMessage:
    return queue_for(make_user("dormant"), MessageType.GOODBYE, status="failed")


def sent() -> EngagementMessage:
    return queue_for(make_user("goodbye_sent"), MessageType.GOODBYE, status="sent")


@pytest.mark.parametrize(
    ("action", "make_row", "reason"),
    [
        ("bring_back", lambda: make_user().user, "the user is active"),
        (
            "bring_back",
            UserProfile.objects.create,
            "the user has no state: the first message creates it",
        ),
        (
            "opt_out",
            lambda: make_user(user__reengagement_opt_out=True).user,
            "the user has already opted out",
        ),
        ("opt_in", lambda: make_user().user, "the user has not opted out"),
        ("cancel_all", lambda: sent().user, "no message is pending"),
        ("cancel", sent, "the message is not pending"),
        ("retry", sent, "the message has not failed"),
        ("retry", unwanted, "the user has opted out"),
        ("retry", without_profile, "the user has no profile"),
        ("retry", outdated, "the user no longer needs the goodbye"),
    ],
)
def test_action_that_is_not_needed_is_skipped_with_the_reason(
    support: Client, action: str, make_row: Callable[[], Model], reason: str
) -> None:
    row = make_row()
    before = everything()
    (report,) = act(support, row, action)
    assert report.endswith(f": skipped because {reason}.")
    assert everything() == before


def test_action_on_a_message_without_a_profile_goes_back_to_the_message(support: Client) -> None:
    message = without_profile()
    assert f'href="{page_url(message)}"' in text_of(support, act_url(message, "retry"))
    response = support.post(act_url(message, "retry"), follow=True)
    assert response.redirect_chain == [(page_url(message), 302)]


def test_report_counts_results(support: Client) -> None:
    dormant = make_users(2, "dormant")
    for number in (0, 0, 1):
        queue_for(dormant[number], MessageType.GOODBYE)
    profiles = [user.user for user in (*dormant, make_user())]
    question = choose(support, UserProfile, "bring_back", *profiles)
    assert not EngagementStateTransition.objects.exists()
    assert all(str(profile.pk) in question.content.decode() for profile in profiles)
    response = choose(support, UserProfile, "bring_back", *profiles, confirmed="yes")
    assert reports(response) == [
        ("success", "Mark as active: marked as active (2); 3 pending messages cancelled."),
        ("warning", "Mark as active: skipped because the user is active (1)."),
    ]


def test_report_on_one_row_is_a_success_or_a_warning(support: Client) -> None:
    url = act_url(queue_for(make_user(), MessageType.WELCOME), "cancel")
    assert [reports(support.post(url, follow=True))[0][0] for _ in range(2)] == ["success", "warning"]


def test_error_on_one_row_is_logged_and_the_others_are_acted_on(
    support: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from engagement.services import support as services

    broken, sound = make_users(2, "dormant")
    bring_back = services.bring_back

    def break_one(*, user_id: UUID, **more: object) -> object:
        if user_id == broken.user_id:
            raise DatabaseError("broken")
        return bring_back(user_id=user_id, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "bring_back", break_one)
    response = choose(support, UserProfile, "bring_back", broken.user, sound.user, confirmed="yes")
    assert sentences(response) == [
        "Mark as active: marked as active (1).",
        "Mark as active: failed; the log has the reason (1).",
    ]
    (record,) = caplog.records
    assert str(broken.user_id) in record.getMessage()


@pytest.mark.parametrize("confirmed", [{}, {"confirmed": "yes"}])
@pytest.mark.parametrize("action", ["cancel", "download"])
def test_selection_that_left_the_list_is_reported(
    support: Client, action: str, confirmed: dict[str, str]
) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, status="sent")
    response = choose(
        support, EngagementMessage, action, message, query="?status__exact=pending", **confirmed
    )
    assert reports(response) == [
        ("warning", "Nothing was done: the selected rows are no longer in this list.")
    ]


def test_part_of_a_selection_that_left_the_list_is_reported(support: Client) -> None:
    messages = [queue_for(make_user(), MessageType.WELCOME, status=status) for status in ("sent", "pending")]
    response = choose(
        support, EngagementMessage, "cancel", *messages, query="?status__exact=pending", confirmed="yes"
    )
    assert reports(response) == [
        ("success", "Cancel this message: cancelled."),
        ("warning", "Cancel this message: 1 selected row skipped: no longer in this list."),
    ]
    assert status_of(messages[1]) == "cancelled"


@pytest.mark.parametrize(
    ("action", "label", "color"),
    [("cancel", "Cancel this message", "bg-red-600"), ("retry", "Retry", "bg-primary-600")],
)
def test_confirmation_names_the_action_on_its_button(
    support: Client, waiting: UserEngagementState, action: str, label: str, color: str
) -> None:
    message = queue_for(waiting, MessageType.GOODBYE)
    page = text_of(support, act_url(message, action))
    title, heading, yes = (
        re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL) for tag in ("title", "h2", "button")
    )
    named = f"{label}: Goodbye to {str(waiting.user.whatsapp_jid).partition('@')[0]}"
    assert title[0].strip().startswith(f"{named} |")
    assert named in map(str.strip, heading)
    assert label in map(str.strip, yes)
    assert color in page.partition('id="confirm-action"')[2].partition("</form>")[0]
    no = re.findall(rf'<a href="{page_url(message.user)}"[^>]*>(.*?)</a>', page, re.DOTALL)
    assert [text.strip() for text in no] == ["Keep as is"]


def test_nothing_is_done_before_the_confirmation(support: Client, waiting: UserEngagementState) -> None:
    before = everything()
    for action in USER_ACTIONS:
        assert support.get(act_url(waiting.user, action)).status_code == 200
    assert everything() == before


@pytest.mark.parametrize(
    ("action", "status"),
    [*((action, "") for action in USER_ACTIONS), ("cancel", "pending"), ("retry", "failed")],
)
def test_viewer_may_not_act(viewer: Client, waiting: UserEngagementState, action: str, status: str) -> None:
    row = queue_for(waiting, MessageType.GOODBYE, status=status) if status else waiting.user
    before = everything()
    assert viewer.get(act_url(row, action)).status_code == 403
    assert viewer.post(act_url(row, action)).status_code == 403
    choose(viewer, type(row), action, row, confirmed="yes")
    assert everything() == before
    for page in (page_url(row), page_url(waiting.user), list_url(type(row))):
        text = text_of(viewer, page)
        assert f'value="{action}"' not in text
        assert f"/act/{action}/" not in text


def test_account_that_may_not_see_users_may_not_act_on_them(
    account_with: Callable[..., Client], waiting: UserEngagementState
) -> None:
    client = account_with("bring_back")
    before = everything()
    assert client.get(act_url(waiting.user, "bring_back")).status_code == 403
    assert client.post(act_url(waiting.user, "bring_back")).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("action", ["bring_back", "opt_out", "cancel_all"])
def test_each_action_has_a_permission_of_its_own(
    viewer: Client, waiting: UserEngagementState, action: str
) -> None:
    codename = {"bring_back": "bring_back", "opt_out": "change_opt_out", "cancel_all": "cancel_message"}
    User.objects.get().user_permissions.add(Permission.objects.get(codename=codename[action]))
    for other in codename:
        expected = 200 if other == action else 403
        assert viewer.get(act_url(waiting.user, other)).status_code == expected


def test_unknown_action_is_refused(support: Client, waiting: UserEngagementState) -> None:
    assert support.post(act_url(waiting.user, "delete")).status_code == 403


def test_form_without_its_token_is_refused(waiting: UserEngagementState) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.create_superuser("root"))
    assert strict.post(act_url(waiting.user, "bring_back")).status_code == 403
