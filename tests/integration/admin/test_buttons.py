"""Pages have buttons for the actions that would change something and that the account may perform."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.utils import timezone

from engagement.admin.people.history import MAX_SHOWN
from engagement.models import EngagementMessage, MessageStatus, MessageType
from tests.factories import NOW, make_user, queue_for
from tests.integration.admin.many_rows import fill_history_of
from tests.integration.admin.pages import act_url, page_url, text_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

USER_ACTIONS: Final = ("bring_back", "opt_out", "opt_in", "cancel_all")
MESSAGE_ACTIONS: Final = ("cancel", "retry", "arrived", "not_arrived")


def buttons(client: Client, page: Model, row: Model, *actions: str) -> set[str]:
    """The actions on the row that the page has a button for."""
    text = text_of(client, page_url(page))
    return {action for action in actions if f'href="{act_url(row, action)}"' in text}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", {"cancel"}),
        ("failed", {"retry"}),
        ("unknown", {"arrived", "not_arrived"}),
        ("sent", set()),
        ("cancelled", set()),
    ],
)
def test_message_has_a_button_for_what_its_status_allows(
    support: Client, viewer: Client, status: str, expected: set[str]
) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, status=status)
    for page in (message.user, message):
        assert buttons(support, page, message, *MESSAGE_ACTIONS) == expected
        assert buttons(viewer, page, message, *MESSAGE_ACTIONS) == set()


def test_goodbye_can_be_retried_only_while_the_user_waits_for_it(support: Client) -> None:
    later = timezone.now() + timedelta(hours=1)
    waiting = make_user("goodbye_sent", goodbye_sent_at=NOW, goodbye_expires_at=later)
    for user, expected in ((waiting, {"retry"}), (make_user(), set()), (make_user("dormant"), set())):
        message = queue_for(user, MessageType.GOODBYE, status="failed", created_at=NOW + timedelta(hours=1))
        for page in (user.user, message):
            assert buttons(support, page, message, "retry") == expected


def test_message_of_an_opted_out_user_cannot_be_retried(support: Client) -> None:
    user = make_user(user__reengagement_opt_out=True)
    unwanted = queue_for(user, MessageType.WEEKLY_REVIEW, status="failed")
    wanted = queue_for(user, MessageType.WELCOME, status="failed")
    for page in (user.user, unwanted):
        assert buttons(support, page, unwanted, "retry") == set()
    for page in (user.user, wanted):
        assert buttons(support, page, wanted, "retry") == {"retry"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "dormant"}, {"bring_back", "opt_out"}),
        ({"user__reengagement_opt_out": True}, {"opt_in"}),
        ({"state": "active"}, {"opt_out"}),
    ],
)
def test_page_of_a_user_has_buttons_for_useful_actions(
    support: Client, fields: dict[str, object], expected: set[str]
) -> None:
    profile = make_user(**fields).user
    assert buttons(support, profile, profile, *USER_ACTIONS) == expected


@pytest.mark.parametrize("status", MessageStatus)
def test_only_pending_messages_can_be_cancelled(support: Client, status: MessageStatus) -> None:
    user = make_user()
    profile = queue_for(user, MessageType.GOODBYE, status=status).user
    # One message has a button of its own.
    assert buttons(support, profile, profile, "cancel_all") == set()
    queue_for(user, MessageType.WELCOME, status=status)
    assert buttons(support, profile, profile, "cancel_all") == (
        {"cancel_all"} if status is MessageStatus.PENDING else set()
    )


def test_messages_that_the_page_does_not_show_can_be_cancelled(support: Client) -> None:
    user = make_user()
    for count, expected in ((MAX_SHOWN, set()), (1, {"cancel_all"})):
        fill_history_of(user.user_id, count)
        EngagementMessage.objects.update(status="sent")
        assert buttons(support, user.user, user.user, "cancel_all") == expected
