"""The history of a user: transitions and support actions, the latest first. Real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from engagement.admin.people.history import MAX_SHOWN
from engagement.models import EngagementStateTransition, MessageType
from engagement.services.state_machine import transition_state
from engagement.states import State, Trigger
from tests.factories import NOW, TICK, make_user, queue_for
from tests.integration.admin.pages import act_url, actions_url, link_to, page_url, text_of
from tests.running import run_job
from tests.times import DAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.test import Client

    from engagement.models import UserProfile

pytestmark = pytest.mark.django_db

ACTIVE, WAITING, DORMANT = (state.label for state in (State.ACTIVE, State.GOODBYE_SENT, State.DORMANT))


def add_transitions(profile: UserProfile, *times: datetime) -> None:
    """Add timeouts to the audit log."""
    EngagementStateTransition.objects.bulk_create(
        EngagementStateTransition(
            user=profile,
            from_state="goodbye_sent",
            to_state="dormant",
            trigger="goodbye_timeout",
            created_at=at,
        )
        for at in times
    )


def add_actions(profile: UserProfile, *times: datetime, sentence: str = "Opted in.") -> None:
    """Add support actions to the admin's log."""
    account = User.objects.get()
    kind = ContentType.objects.get_for_model(profile)
    LogEntry.objects.bulk_create(
        LogEntry(
            user=account,
            content_type=kind,
            object_id=str(profile.pk),
            action_flag=CHANGE,
            change_message=sentence,
            action_time=at,
        )
        for at in times
    )


def daily(count: int, *, step: timedelta = DAY) -> list[datetime]:
    return [NOW - number * step for number in range(count)]


def counts(client: Client, profile: UserProfile) -> tuple[int, int]:
    """How many transitions and support actions the page shows."""
    page = text_of(client, page_url(profile))
    return page.count(f"→ {DORMANT}"), page.count("Opted in.")


@pytest.mark.parametrize("metadata", [[], "text", 1, {"days_inactive": "many", "hours_waited": None}])
def test_metadata_may_be_any_json_value(viewer: Client, metadata: object) -> None:
    user = make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata=metadata)
    assert f"{ACTIVE} → {WAITING}" in text_of(viewer, page_url(user.user))


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(0)])
def test_latest_transition_is_first(viewer: Client, later: timedelta) -> None:
    user = make_user("goodbye_sent")
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_1, now=NOW)
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW + later)
    page = text_of(viewer, page_url(user.user))
    assert page.index(f"→ {ACTIVE}") < page.index(f"{WAITING} → ")


OLDEST_SHOWN_AT: Final = NOW - (MAX_SHOWN - 1) * DAY
EDGE: Final = [(OLDEST_SHOWN_AT - TICK, 0), (OLDEST_SHOWN_AT, 1), (NOW, 1)]
"""Times around the oldest entry shown of a daily series, and how often an entry of that time is shown."""


@pytest.mark.parametrize(("at", "count"), EDGE)
def test_action_older_than_hidden_transitions_is_hidden(viewer: Client, at: datetime, count: int) -> None:
    profile = make_user().user
    add_transitions(profile, *daily(MAX_SHOWN + 10))
    add_actions(profile, at)
    assert counts(viewer, profile) == (MAX_SHOWN, count)


@pytest.mark.parametrize(("at", "count"), EDGE)
def test_transition_older_than_hidden_actions_is_hidden(viewer: Client, at: datetime, count: int) -> None:
    profile = make_user().user
    add_actions(profile, *daily(MAX_SHOWN + 10))
    add_transitions(profile, at)
    assert counts(viewer, profile) == (count, MAX_SHOWN)


def test_history_with_two_cuts_ends_at_the_later_one(viewer: Client) -> None:
    profile = make_user().user
    add_transitions(profile, *daily(MAX_SHOWN + 10))
    add_actions(profile, *daily(MAX_SHOWN + 10, step=2 * DAY))
    assert counts(viewer, profile) == (MAX_SHOWN, MAX_SHOWN // 2)


def test_old_action_is_shown_below_a_complete_history(viewer: Client) -> None:
    profile = make_user().user
    add_transitions(profile, *daily(MAX_SHOWN))
    add_actions(profile, NOW - 400 * DAY)
    assert counts(viewer, profile) == (MAX_SHOWN, 1)


def test_long_list_of_actions_is_cut_and_linked(viewer: Client) -> None:
    profile = make_user().user
    assert actions_url(profile) not in text_of(viewer, page_url(profile))
    add_actions(profile, *daily(MAX_SHOWN))
    assert "Only the latest entries are shown." not in text_of(viewer, page_url(profile))
    add_actions(profile, NOW)
    page = text_of(viewer, page_url(profile))
    assert page.count("Opted in.") == MAX_SHOWN
    assert "Only the latest entries are shown." in page
    assert f'<a class="engagement-link" href="{actions_url(profile)}">Manual actions</a>' in page
    assert text_of(viewer, actions_url(profile)).count("Opted in.") == MAX_SHOWN
    assert f"{MAX_SHOWN + 1} manual actions" in text_of(viewer, actions_url(profile))


@pytest.mark.parametrize(
    ("trigger", "to_state", "count"),
    [
        ("user_message", "active", 1),
        ("user_message", "help_flow", 0),
        ("goodbye_response_1", "help_flow", 0),
        ("goodbye_timeout", "active", 0),
    ],
)
def test_only_a_return_to_active_can_be_manual(
    viewer: Client, trigger: str, to_state: str, count: int
) -> None:
    profile = make_user().user
    EngagementStateTransition.objects.create(
        user=profile,
        from_state="goodbye_sent",
        to_state=to_state,
        trigger=trigger,
        metadata={"performed_by": "the assistant"},
    )
    page = text_of(viewer, page_url(profile))
    assert page.count("Marked as active") == count
    assert "by the assistant" in page


@pytest.mark.parametrize(("status", "action"), [("pending", "cancel"), ("failed", "retry")])
def test_action_links_its_message_for_accounts_that_may_see_it(
    support: Client, account_with: Callable[..., Client], status: str, action: str
) -> None:
    message = queue_for(make_user("goodbye_sent"), MessageType.WELCOME, status=status)
    support.post(act_url(message, action))
    page = text_of(support, page_url(message.user))
    short = f"…{str(message.pk)[-8:]}"
    assert f"message {link_to(message, short, title=message.pk)} (welcome).</p>" in page
    page = text_of(account_with("view_userprofile"), page_url(message.user))
    assert f'message <span title="{message.pk}">{short}</span> (welcome).</p>' in page


def test_action_is_escaped(viewer: Client) -> None:
    profile = make_user().user
    for sentence in ("<script>", f"Retried message {profile.pk} (<script>)."):
        add_actions(profile, NOW, sentence=sentence)
    page = viewer.get(page_url(profile)).content.decode()
    assert page.count(f">…{str(profile.pk)[-8:]}</a> (&lt;script&gt;).</p>") == 1
    assert page.count(">&lt;script&gt;</p>") == 1
