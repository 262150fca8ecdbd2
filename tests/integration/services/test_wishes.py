"""Messages in that say whether somebody wants to be written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engagement.models import (
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.services.inbound_messages import InboundResult, receive_message
from engagement.services.preferences import opt_in, opt_out
from tests.factories import NOW, make_user, queue_for
from tests.integration.services.users import hear, status_of_messages
from tests.times import DAY, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.django_db


def wishes(user: UserEngagementState) -> bool:
    return UserProfile.objects.get(pk=user.user_id).reengagement_opt_out


def test_opting_out_by_text_cancels_what_is_pending() -> None:
    user = make_user()
    for message_type in MessageType:
        queue_for(user, message_type)
    result = hear(user, "Cancelar mensagens!")
    assert (wishes(user), result.preference, result.cancelled) == (True, "opted_out", 4)
    assert status_of_messages() == {
        "welcome": "pending",
        "reply": "pending",
        "tier_unlock": "pending",
        "goodbye": "cancelled",
        "reminder": "cancelled",
        "weekly_review": "cancelled",
        "help_restart": "cancelled",
    }


def test_opting_in_by_text_brings_nothing_back() -> None:
    user = make_user(user__reengagement_opt_out=True, user__updated_at=NOW - DAY)
    queue_for(user, MessageType.REMINDER, status="cancelled")
    result = hear(user, "voltar")
    assert (wishes(user), result.preference, result.reply_key) == (
        False,
        "opted_in",
        "engagement.reply.opted_in",
    )
    assert status_of_messages() == {"reminder": "cancelled"}


def test_who_never_opted_out_gets_no_reply_about_opting_in() -> None:
    user = make_user()

    def receive(message_id: str) -> InboundResult:
        return receive_message(
            user_id=user.user_id, text="voltar", received_at=NOW, now=NOW, message_id=message_id
        )

    results = [receive("wamid.A"), receive("wamid.A")]
    opt_out(user_id=user.user_id, now=NOW - DAY)
    results += [receive("wamid.B"), receive("wamid.B")]
    replies = [None, None, "engagement.reply.opted_in", "engagement.reply.opted_in"]
    assert [(result.preference, result.reply_key) for result in results] == [
        ("opted_in", reply) for reply in replies
    ]
    # The wish is kept: one from before it does not count any more.
    assert hear(user, "stop", NOW - SECOND).preference is None


def test_wish_is_not_part_of_a_sentence() -> None:
    user = make_user()
    assert hear(user, "não quero parar").preference is None
    assert not wishes(user)


def test_repeated_wish_does_not_undo_a_later_one() -> None:
    user = make_user()
    hear(user, "stop")
    hear(user, "start", NOW + SECOND)
    result = hear(user, "stop", now=NOW + DAY)
    assert (wishes(user), result.preference, result.reply_key) == (False, None, None)


@pytest.mark.parametrize(("service", "text"), [(opt_in, "stop"), (opt_out, "start")])
def test_repeated_wish_does_not_undo_what_a_service_did_later(service: Callable[..., Any], text: str) -> None:
    user = make_user()
    hear(user, text)
    service(user_id=user.user_id, now=NOW + SECOND)
    result = hear(user, text, now=NOW + DAY)
    assert (result.preference, result.reply_key) == (None, None)
    assert wishes(user) is (service is opt_out)


def test_wish_that_comes_after_a_newer_message_is_heeded() -> None:
    user = make_user()
    hear(user, "oi")
    result = hear(user, "stop", NOW - SECOND)
    assert (wishes(user), result.reply_key) == (True, "engagement.reply.opted_out")


def test_wish_in_the_second_of_another_message_is_heeded() -> None:
    user = make_user()
    hear(user, "oi")
    assert hear(user, "stop").preference == "opted_out"
    assert wishes(user)
