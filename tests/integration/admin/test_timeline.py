"""The history of a user: what happened, when, and who did it by hand. Real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from engagement.admin.user_page import SHOWN
from engagement.models import EngagementStateTransition, MessageType
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.factories import NOW, TICK, make_user, queue_for
from tests.integration.admin.pages import act_url, page_url, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.test import Client

    from engagement.models import UserProfile

pytestmark = pytest.mark.django_db

DAY: Final = timedelta(days=1)


def move(profile: UserProfile, *, at: datetime) -> None:
    """Put a row into the audit log, wherever the user stands."""
    EngagementStateTransition.objects.create(
        user=profile, from_state="goodbye_sent", to_state="dormant", trigger="goodbye_timeout", created_at=at
    )


def act(profile: UserProfile, *, at: datetime, words: str = "Opted the user in.") -> None:
    """Put down that somebody did something by hand."""
    LogEntry.objects.create(
        user=User.objects.get(),
        content_type=ContentType.objects.get_for_model(profile),
        object_id=str(profile.pk),
        action_flag=CHANGE,
        change_message=words,
        action_time=at,
    )


@pytest.mark.parametrize("metadata", [[], "text", {"days_inactive": "many", "hours_waited": None}])
def test_strange_metadata_does_not_break_the_page(viewer: Client, metadata: object) -> None:
    user = make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata=metadata)
    assert "active → waiting for reply" in text_of(viewer, page_url(user.user))


def test_newest_stands_first(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW + timedelta(hours=1))
    page = text_of(viewer, page_url(user.user))
    assert page.index("waiting for reply → active") < page.index("active → waiting for reply")


def test_later_of_two_moves_of_one_instant_stands_first(viewer: Client) -> None:
    user = make_user("goodbye_sent")
    for trigger in (Trigger.GOODBYE_RESPONSE_1, Trigger.USER_MESSAGE):
        transition_state(user_id=user.user_id, trigger=trigger, now=NOW)
    page = text_of(viewer, page_url(user.user))
    assert page.index("→ active") < page.index("waiting for reply → ")


def test_long_row_of_acts_by_hand_is_cut_and_says_so(support: Client) -> None:
    profile = make_user().user
    for wish in ("opt_out", "opt_in") * (SHOWN // 2):
        support.post(act_url(profile, wish))
    assert "Only the latest is shown." not in text_of(support, page_url(profile))
    support.post(act_url(profile, "opt_out"))
    page = text_of(support, page_url(profile))
    assert page.count("Opted the user ") == SHOWN
    assert "Only the latest is shown." in page


OLDEST_SHOWN_AT: Final = NOW - (SHOWN - 1) * DAY
EDGE: Final = [(OLDEST_SHOWN_AT - TICK, 0), (OLDEST_SHOWN_AT, 1), (NOW, 1)]
"""What is as old as the oldest of a daily row that is shown, and how often it is shown itself."""


@pytest.mark.parametrize(("at", "count"), EDGE)
def test_act_is_not_shown_below_moves_that_are_left_out(viewer: Client, at: datetime, count: int) -> None:
    profile = make_user().user
    for day in range(SHOWN + 10):
        move(profile, at=NOW - day * DAY)
    act(profile, at=at)
    page = text_of(viewer, page_url(profile))
    assert (page.count("Opted the user in."), page.count("→ dormant")) == (count, SHOWN)


@pytest.mark.parametrize(("at", "count"), EDGE)
def test_move_is_not_shown_below_acts_that_are_left_out(viewer: Client, at: datetime, count: int) -> None:
    profile = make_user().user
    for day in range(SHOWN + 10):
        act(profile, at=NOW - day * DAY)
    move(profile, at=at)
    page = text_of(viewer, page_url(profile))
    assert (page.count("Opted the user in."), page.count("→ dormant")) == (SHOWN, count)


def test_history_that_is_cut_twice_begins_where_both_are_known(viewer: Client) -> None:
    profile = make_user().user
    for day in range(SHOWN + 10):
        move(profile, at=NOW - day * DAY)
        act(profile, at=NOW - 2 * day * DAY)
    page = text_of(viewer, page_url(profile))
    assert (page.count("→ dormant"), page.count("Opted the user in.")) == (SHOWN, SHOWN // 2)


def test_old_act_is_shown_below_all_moves(viewer: Client) -> None:
    profile = make_user().user
    for day in range(SHOWN):
        move(profile, at=NOW - day * DAY)
    act(profile, at=NOW - 400 * DAY)
    page = text_of(viewer, page_url(profile))
    assert (page.count("Opted the user in."), page.count("→ dormant")) == (1, SHOWN)


def test_page_leads_to_all_that_was_done_by_hand(support: Client) -> None:
    profile = make_user().user
    all_acts = page_url(profile).replace("/change/", "/history/")
    assert all_acts not in text_of(support, page_url(profile))
    for wish in ("opt_out", "opt_in") * (SHOWN // 2 + 1):
        support.post(act_url(profile, wish))
    link = f'<a class="engagement-link" href="{all_acts}">All that was done by hand, but for moves</a>'
    assert link in text_of(support, page_url(profile))
    assert text_of(support, all_acts).count("Opted the user ") == SHOWN + 2


@pytest.mark.parametrize(
    ("trigger", "to_state", "count"),
    [
        ("user_message", "active", 1),
        ("user_message", "help_flow", 0),
        ("goodbye_response_1", "help_flow", 0),
        ("goodbye_timeout", "active", 0),
    ],
)
def test_only_a_return_was_done_by_hand(viewer: Client, trigger: str, to_state: str, count: int) -> None:
    profile = make_user().user
    EngagementStateTransition.objects.create(
        user=profile,
        from_state="goodbye_sent",
        to_state=to_state,
        trigger=trigger,
        metadata={"performed_by": "the assistant"},
    )
    page = text_of(viewer, page_url(profile))
    assert page.count("Brought back by hand") == count
    assert "by the assistant" in page


@pytest.mark.parametrize(("status", "action"), [("pending", "cancel"), ("failed", "retry")])
def test_message_that_was_acted_on_is_linked_for_who_may_see_it(
    support: Client, account_that_may: Callable[..., Client], status: str, action: str
) -> None:
    message = queue_for(make_user("goodbye_sent"), MessageType.WELCOME, status=status)
    support.post(act_url(message, action))
    link = f'welcome <a class="engagement-link" href="{page_url(message)}">{message.pk}</a>.</p>'
    assert link in text_of(support, page_url(message.user))
    assert f"welcome {message.pk}.</p>" in text_of(
        account_that_may("view_userprofile"), page_url(message.user)
    )


def test_act_is_text_and_no_script(viewer: Client) -> None:
    profile = make_user().user
    act(profile, at=NOW, words=f"<script> {profile.pk} <script>")
    page = viewer.get(page_url(profile)).content.decode()
    assert page.count(f">{profile.pk}</a> &lt;script&gt;</p>") == 1
    assert f"<script> {profile.pk}" not in page
