"""Messages that have an id of the messenger: recognised by it, answered once, forgotten in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    InboundMessage,
    MessageStatus,
    MessageType,
    UserProfile,
)
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.inbound_messages import InboundResult, receive_and_reply, receive_message
from engagement.services.state_machine import EngagementStateNotFound
from tests.database import all_rows
from tests.factories import NOW, UserProfileFactory, make_user, queue_for
from tests.integration.services.users import state_of, stored
from tests.times import DAY, SECOND

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db

WAMID = "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABIYFDNB"


def receive(user: UserEngagementState, text: str, message_id: str = WAMID, **others: Any) -> InboundResult:
    values = {"received_at": NOW, "now": NOW, **others}
    return receive_message(user_id=user.user_id, text=text, message_id=message_id, **values)


@pytest.mark.parametrize("text", ["2", "oi", "parar"])
def test_a_repeat_gets_the_first_result_and_changes_nothing(text: str) -> None:
    user = make_user("goodbye_sent")
    first = receive(user, text)
    # Another message in between, which is now the latest.
    receive(user, "e aí?", "wamid.B", received_at=NOW + SECOND, now=NOW + SECOND)
    before = all_rows()
    again = receive(user, text, now=NOW + DAY)
    assert all_rows() == before
    assert (first.novelty, again.novelty) == ("new", "repeat")
    assert again.transition == first.transition
    assert (again.preference, again.reply_key, dict(again.reply_params), again.cancelled) == (
        first.preference,
        first.reply_key,
        dict(first.reply_params),
        0,
    )


def test_two_messages_with_the_same_text_in_the_same_second_are_two() -> None:
    user = make_user("goodbye_sent")
    assert receive(user, "1", "wamid.A").transition
    assert receive(user, "1", "wamid.B").novelty == "new"
    assert state_of(user) == "active"


def test_a_repeat_of_an_active_user_cancels_nothing() -> None:
    user = make_user()
    receive(user, "oi")
    goodbye = queue_for(user, MessageType.GOODBYE)
    assert receive(user, "oi", now=NOW + DAY).cancelled == 0
    goodbye.refresh_from_db()
    assert goodbye.status == MessageStatus.PENDING


def test_the_id_is_recognised_under_a_former_secret_key(settings: Settings) -> None:
    user = make_user("goodbye_sent")
    receive(user, "3")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key"  # noqa: S105  no real one
    assert receive(user, "3").novelty == "repeat"


def test_no_table_holds_the_id() -> None:
    user = make_user("goodbye_sent")
    reply(user, "2")
    rows = str([all_rows(), *InboundMessage.objects.values()])
    assert WAMID[6:] not in rows


def test_ids_are_forgotten_after_eight_days_a_few_with_each_message() -> None:
    user = make_user()
    for number in range(30):
        receive(user, "oi", f"wamid.{number}", now=NOW - timedelta(days=9))
    receive(user, "oi", "wamid.new", now=NOW)
    assert InboundMessage.objects.filter(created_at__lt=NOW).count() == 10
    receive(user, "oi", "wamid.newer", now=NOW - DAY)
    receive(user, "oi", "wamid.newest", now=NOW)
    assert InboundMessage.objects.count() == 3


def test_an_unknown_user_leaves_no_trace() -> None:
    with pytest.raises(EngagementStateNotFound):
        receive_message(
            user_id=UserProfileFactory.build().user_id, text="1", received_at=NOW, now=NOW, message_id=WAMID
        )
    assert not InboundMessage.objects.exists()


# Buttons.


def with_goodbye(provider_message_id: str | None) -> UserEngagementState:
    user = make_user("goodbye_sent", goodbye_sent_at=NOW - DAY, goodbye_expires_at=NOW + DAY)
    queue_for(
        user,
        MessageType.GOODBYE,
        idempotency_key=goodbye_key(user.user_id, now=NOW - DAY),
        status=MessageStatus.SENT,
        claimed_at=NOW - DAY,
        provider_message_id=provider_message_id,
    )
    return user


@pytest.mark.parametrize(
    ("id_of_goodbye", "button_of", "state"),
    [
        ("wamid.goodbye", "wamid.goodbye", "help_flow"),
        ("wamid.goodbye", "wamid.welcome", "active"),
        ("wamid.goodbye", "wamid.of-the-assistant-s-own-list", "active"),
        # The answer with the goodbye's id was lost.
        (None, "wamid.nobody-knows", "help_flow"),
        (None, None, "help_flow"),
    ],
)
def test_a_button_of_another_message_is_no_reply_to_the_goodbye(
    id_of_goodbye: str | None, button_of: str | None, state: str
) -> None:
    user = with_goodbye(id_of_goodbye)
    queue_for(user, MessageType.WELCOME, status=MessageStatus.SENT, provider_message_id="wamid.welcome")
    receive(user, "1", button_of=button_of)
    assert state_of(user) == state


@pytest.mark.parametrize(
    ("text", "button_of", "opted_out"),
    [
        ("voltar", "wamid.menu-of-the-assistant", True),
        ("voltar", "wamid.of-somebody-else", True),
        ("voltar", "wamid.goodbye", False),
        ("voltar", None, False),
        ("sair", "wamid.menu-of-the-assistant", True),
    ],
)
def test_a_button_of_another_message_opts_out_but_never_in(
    text: str,
    button_of: str | None,
    opted_out: bool,  # noqa: FBT001
) -> None:
    user, other = with_goodbye("wamid.goodbye"), make_user()
    queue_for(
        other, MessageType.WELCOME, status=MessageStatus.SENT, provider_message_id="wamid.of-somebody-else"
    )
    profiles = UserProfile.objects.filter(pk=user.user_id)
    profiles.update(reengagement_opt_out=text == "voltar", updated_at=NOW - DAY)
    is_heard = text == "sair" or not opted_out
    assert (receive(user, text, button_of=button_of).reply_key is not None) is is_heard
    assert profiles.get().reengagement_opt_out is opted_out


def test_a_button_of_an_earlier_attempt_may_be_the_goodbyes() -> None:
    user = with_goodbye("wamid.second")
    EngagementMessage.objects.update(retry_count=1)
    receive(user, "1", button_of="wamid.first")
    assert state_of(user) == "help_flow"


# Replies that are queued.


def reply(user: UserEngagementState, text: str, message_id: str = WAMID, **others: Any) -> InboundResult:
    values = {"received_at": NOW, "now": NOW, **others}
    return receive_and_reply(user_id=user.user_id, text=text, message_id=message_id, **values)


def test_the_reply_is_queued_once() -> None:
    user = make_user("goodbye_sent")
    for _ in range(2):
        reply(user, "2", received_at=NOW - SECOND)
    message = EngagementMessage.objects.get()
    assert (message.message_type, message.message_key) == ("reply", "engagement.reply.see_you_in_two_weeks")
    assert (message.message_params, message.status) == ({"days": 14}, "pending")
    assert (message.scheduled_for, message.created_at) == (NOW - SECOND, NOW)
    assert message.destination_jid == user.user.whatsapp_jid


def test_a_message_without_a_reply_queues_nothing() -> None:
    user = make_user("dormant")
    reply(user, "oi")
    assert not EngagementMessage.objects.exists()


def test_an_opt_out_is_confirmed_and_cancels_no_reply() -> None:
    user = make_user("goodbye_sent")
    reply(user, "1", "wamid.A")
    reply(user, "sair", "wamid.B", received_at=NOW + SECOND, now=NOW + SECOND)
    keys = EngagementMessage.objects.order_by("created_at").values_list("message_key", "status")
    assert list(keys) == [("engagement.reply.help", "pending"), ("engagement.reply.opted_out", "pending")]
    assert stored(user)["state"] == "active"


def test_if_the_reply_cannot_be_queued_the_message_was_not_received() -> None:
    user = make_user("goodbye_sent")
    before = all_rows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engagement.services.inbound_messages.queue_message", fail)
        with pytest.raises(RuntimeError):
            reply(user, "1")
    assert all_rows() == before
    assert not EngagementStateTransition.objects.exists()


def fail(**_values: object) -> None:
    raise RuntimeError
