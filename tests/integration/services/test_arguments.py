"""Arguments of the services that an assistant calls: ids and choices as text, ids and times that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.models import EngagementMessage, InboundMessage, MessageType
from engagement.replies import Preference
from engagement.services.inbound_messages import receive_and_reply, receive_message
from engagement.services.message_queue import NewMessage, queue_message
from engagement.services.preferences import PreferenceSource, opt_in, opt_out, set_preference
from engagement.services.state_machine import lock_states, transition_state
from engagement.states import Trigger
from tests.database import all_rows
from tests.factories import NOW, UserProfileFactory, make_user
from tests.integration.services.users import state_of
from tests.times import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    Service = Callable[[Any, datetime], object]

pytestmark = pytest.mark.django_db


def queue(user_id: Any, now: datetime) -> object:
    waiting = NewMessage(user_id, MessageType.WELCOME, "engagement.reply.help", "individual", "1", now, "key")
    return queue_message(message=waiting, now=now)


SERVICES: Final[dict[str, Service]] = {
    "receive_message": lambda user, at: receive_message(user_id=user, text="oi", received_at=at, now=at),
    "receive_and_reply": lambda user, at: receive_and_reply(user_id=user, text="oi", received_at=at, now=at),
    "transition_state": lambda user, at: transition_state(user_id=user, trigger=Trigger.USER_MESSAGE, now=at),
    "lock_states": lambda user, at: lock_states(user_ids=[user], trigger=Trigger.USER_MESSAGE, now=at),
    "opt_out": lambda user, at: opt_out(user_id=user, now=at),
    "opt_in": lambda user, at: opt_in(user_id=user, now=at),
    "queue_message": queue,
}
service = pytest.mark.parametrize("name", SERVICES)


@service
@pytest.mark.parametrize("write", [str, lambda user_id: str(user_id).upper(), lambda user_id: user_id.hex])
def test_an_id_may_be_text(name: str, write: Callable[[UUID], str]) -> None:
    SERVICES[name](write(UserProfileFactory.create().user_id), NOW)


@service
@pytest.mark.parametrize("wrong", ["ana", "", None, 5])
def test_what_is_no_id_is_refused_with_a_sentence(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^user_id must be a UUID, or the text of one\.$"):
        SERVICES[name](wrong, NOW)


@service
@pytest.mark.parametrize(
    "wrong",
    [datetime(1969, 12, 31, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC), NOW.replace(tzinfo=None), "2026"],
)
def test_a_time_that_no_column_holds_is_refused(name: str, wrong: Any) -> None:
    before = all_rows()
    user_id = UserProfileFactory.create().user_id
    with pytest.raises(
        ValueError, match=r"has no offset|pass a time from 1970 to 2999\.$|a datetime, not a str\.$"
    ):
        SERVICES[name](user_id, wrong)
    assert before[1:] == all_rows()[1:]


def test_a_message_is_the_same_whatever_the_spelling_of_its_author() -> None:
    user = make_user("dormant")
    values: dict[str, Any] = {"text": "oi", "received_at": NOW, "now": NOW}
    spellings: list[Any] = [user.user_id, str(user.user_id), str(user.user_id).upper()]
    novelties = [receive_message(user_id=spelling, **values).novelty for spelling in spellings]
    assert novelties == ["new", "repeat", "repeat"]


def test_a_trigger_may_be_text() -> None:
    newcomer = UserProfileFactory.create()
    transition_state(user_id=newcomer.user_id, trigger="user_message", now=NOW)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bogus"):
        transition_state(user_id=newcomer.user_id, trigger="bogus", now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("preference", Preference)
def test_a_preference_and_its_source_may_be_text(preference: Preference) -> None:
    user = make_user(user__reengagement_opt_out=preference is Preference.OPTED_IN)
    set_preference(
        user_id=user.user_id,
        preference=str(preference),  # type: ignore[arg-type]
        now=NOW,
        source=str(PreferenceSource.SUPPORT),  # type: ignore[arg-type]
    )
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out is (preference is Preference.OPTED_OUT)
    assert user.user.opt_out_source == "support"


def test_a_preference_of_no_kind_and_a_naive_time_are_refused() -> None:
    user_id = make_user().user_id
    with pytest.raises(ValueError, match="out"):
        set_preference(user_id=user_id, preference="out", now=NOW)  # type: ignore[arg-type]
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="has no offset"):
        set_preference(user_id=user_id, preference=Preference.OPTED_IN, now=NOW, said_at=naive)


@pytest.mark.parametrize("receive", [receive_message, receive_and_reply])
def test_an_empty_message_id_is_refused(receive: Callable[..., object]) -> None:
    user = make_user("goodbye_sent")
    with pytest.raises(ValueError, match="message_id is empty"):
        receive(user_id=user.user_id, text="2", received_at=NOW, now=NOW, message_id="")
    assert state_of(user) == "goodbye_sent"
    assert not InboundMessage.objects.exists()


@pytest.mark.parametrize("receive", [receive_message, receive_and_reply])
def test_a_text_that_is_none_is_refused(receive: Callable[..., object]) -> None:
    user = make_user("goodbye_sent")
    with pytest.raises(ValueError, match="text must be a string"):
        receive(user_id=user.user_id, text=None, received_at=NOW, now=NOW)
    assert state_of(user) == "goodbye_sent"


def test_without_a_message_id_each_message_has_its_reply_and_a_repeat_has_none() -> None:
    user = make_user()

    def say(text: str, at: datetime) -> None:
        receive_and_reply(user_id=user.user_id, text=text, received_at=at, now=at)

    for text, at in (("stop", NOW), ("stop", NOW), ("start", NOW + SECOND), ("stop", NOW + 2 * SECOND)):
        say(text, at)
    keys = EngagementMessage.objects.order_by("created_at").values_list("message_key", flat=True)
    opted_out, opted_in = "engagement.reply.opted_out", "engagement.reply.opted_in"
    assert list(keys) == [opted_out, opted_in, opted_out]
