"""The pages of users, states and messages offer what would make a difference, to who may do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.admin.user_page import SHOWN
from engagement.models import EngagementMessage, MessageStatus, MessageType
from tests.factories import make_user, queue_for
from tests.integration.admin.many_rows import fill_history_of
from tests.integration.admin.pages import act_url, page_url, text_of

if TYPE_CHECKING:
    from django.test import Client

    from engagement.models import UserProfile

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "offered"),
    [("pending", {"cancel"}), ("failed", {"retry"}), ("sent", set()), ("cancelled", set())],
)
def test_message_offers_what_can_be_done_with_it(
    support: Client, viewer: Client, status: str, offered: set[str]
) -> None:
    message = queue_for(make_user(), MessageType.GOODBYE, status=status)
    actions = {"cancel", "retry"}
    for url in (page_url(message.user), page_url(message)):
        page = text_of(support, url)
        assert {action for action in actions if f'href="{act_url(message, action)}"' in page} == offered
        page = text_of(viewer, url)
        assert not [action for action in actions if act_url(message, action) in page]


@pytest.mark.parametrize(("state", "count"), [("active", 0), ("help_flow", 1), ("dormant", 1)])
def test_page_of_a_state_offers_to_bring_its_user_back(support: Client, state: str, count: int) -> None:
    user_state = make_user(state=state)
    page = text_of(support, page_url(user_state))
    assert page.count(f'href="{act_url(user_state, "bring_back")}"') == count


USER_ACTIONS: Final = ("bring_back", "opt_out", "opt_in", "cancel_all")


def offered_to(client: Client, profile: UserProfile) -> set[str]:
    page = text_of(client, page_url(profile))
    return {action for action in USER_ACTIONS if f'href="{act_url(profile, action)}"' in page}


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({"state": "dormant"}, {"bring_back", "opt_out"}),
        ({"user__reengagement_opt_out": True}, {"opt_in"}),
        ({"state": "active"}, {"opt_out"}),
    ],
)
def test_page_offers_what_makes_a_difference_to_the_user(
    support: Client, fields: dict[str, object], offered: set[str]
) -> None:
    assert offered_to(support, make_user(**fields).user) == offered


@pytest.mark.parametrize("status", MessageStatus)
def test_page_offers_to_cancel_what_is_pending(support: Client, status: MessageStatus) -> None:
    message = queue_for(make_user(), MessageType.GOODBYE, status=status)
    is_offered = "cancel_all" in offered_to(support, message.user)
    assert is_offered == (status is MessageStatus.PENDING)


def test_page_offers_to_cancel_what_it_does_not_show(support: Client) -> None:
    user = make_user()
    fill_history_of(user.user_id, SHOWN)
    EngagementMessage.objects.update(status="sent")
    assert "cancel_all" not in offered_to(support, user.user)
    fill_history_of(user.user_id, 1)
    EngagementMessage.objects.update(status="sent")
    assert "cancel_all" in offered_to(support, user.user)
