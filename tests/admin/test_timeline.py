"""The history of a user: what happened, when, and who did it by hand. Real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from engagement.admin.user_page import SHOWN
from engagement.models import EngagementStateTransition
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.admin.pages import act_url, page_url, text_of
from tests.factories import NOW, make_user
from tests.running import run_job

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("metadata", [[], "text", {"days_inactive": "many", "hours_waited": None}])
def test_strange_metadata_does_not_break_the_page(viewer: Client, metadata: object) -> None:
    user = make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata=metadata)
    assert "active → goodbye sent" in text_of(viewer, page_url(user.user))


def test_newest_stands_first(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW + timedelta(hours=1))
    page = text_of(viewer, page_url(user.user))
    assert page.index("goodbye sent → active") < page.index("active → goodbye sent")


def test_later_of_two_moves_of_one_instant_stands_first(viewer: Client) -> None:
    user = make_user("goodbye_sent")
    for trigger in (Trigger.GOODBYE_RESPONSE_1, Trigger.USER_MESSAGE):
        transition_state(user_id=user.user_id, trigger=trigger, now=NOW)
    page = text_of(viewer, page_url(user.user))
    assert page.index("→ active") < page.index("goodbye sent → ")


def test_long_row_of_acts_by_hand_is_cut_and_says_so(support: Client) -> None:
    profile = make_user().user
    for wish in ("opt_out", "opt_in") * (SHOWN // 2):
        support.post(act_url(profile, wish))
    assert "Only the latest is shown." not in text_of(support, page_url(profile))
    support.post(act_url(profile, "opt_out"))
    page = text_of(support, page_url(profile))
    assert page.count("Opted the user ") == SHOWN
    assert "Only the latest is shown." in page


def test_page_leads_to_all_that_was_done_by_hand(support: Client) -> None:
    profile = make_user().user
    all_acts = page_url(profile).replace("/change/", "/history/")
    link = f'<a class="engagement-link" href="{all_acts}">All that was done by hand</a>'
    assert link in text_of(support, page_url(profile))
    for wish in ("opt_out", "opt_in") * (SHOWN // 2 + 1):
        support.post(act_url(profile, wish))
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
