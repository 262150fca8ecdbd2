"""The pages of users, states and messages offer what would make a difference, to who may do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import (
    MessageType,
)
from tests.admin.pages import act_url, page_url, text_of
from tests.factories import make_user, queue_for

if TYPE_CHECKING:
    from django.test import Client

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


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({"state": "dormant"}, {"bring_back", "opt_out", "cancel_all"}),
        ({"user__reengagement_opt_out": True}, {"opt_in", "cancel_all"}),
        ({"state": "active"}, {"opt_out", "cancel_all"}),
    ],
)
def test_page_offers_what_makes_a_difference_to_the_user(
    support: Client, fields: dict[str, object], offered: set[str]
) -> None:
    profile = make_user(**fields).user
    page = text_of(support, page_url(profile))
    actions = {"bring_back", "opt_out", "opt_in", "cancel_all"}
    assert {action for action in actions if f'href="{act_url(profile, action)}"' in page} == offered
