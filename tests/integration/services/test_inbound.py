"""Messages in, against PostgreSQL: who is moved, what they are answered, what is cancelled."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    UserEngagementState,
)
from engagement.services.inbound_messages import receive_message
from engagement.services.state_machine import EngagementStateNotFound
from engagement.states import State
from tests.database import all_rows
from tests.factories import NOW, UserProfileFactory, make_user, queue_for
from tests.integration.services.users import STATES, a_user_in, hear, state_of, status_of_messages, stored
from tests.times import DAY, SECOND

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


# Who is moved, and what they are answered.


@pytest.mark.parametrize(
    ("text", "to_state", "reply_key"),
    [
        ("1", "help_flow", "engagement.reply.help"),
        ("Confuso!", "help_flow", "engagement.reply.help"),
        ("2️⃣", "remind_later", "engagement.reply.see_you_in_two_weeks"),
        (" busy ", "remind_later", "engagement.reply.see_you_in_two_weeks"),
        ("3", "dormant", "engagement.reply.door_is_open"),
        ("tudo certo", "dormant", "engagement.reply.door_is_open"),
        ("oi", "active", None),
        ("", "active", None),
        ("parar", "active", "engagement.reply.opted_out"),
    ],
)
def test_goodbye_is_answered(text: str, to_state: str, reply_key: str | None) -> None:
    user = make_user("goodbye_sent")
    result = hear(user, text)
    assert result.transition is not None
    assert (result.novelty, result.transition.to_state, result.reply_key) == ("new", to_state, reply_key)
    assert state_of(user) == to_state


@pytest.mark.parametrize("text", ["1", "2", "3", "oi", "parar", "voltar"])
@pytest.mark.parametrize("state", ["active", "help_flow", "remind_later", "dormant"])
def test_in_every_other_state_whoever_writes_is_active(state: str, text: str) -> None:
    user = a_user_in(state)
    result = hear(user, text)
    assert (state_of(user), stored(user)["last_activity_at"]) == ("active", NOW)
    assert bool(result.transition) is (state != "active")
    assert str(result.reply_key).startswith("engagement.reply.opted") is (text in {"parar", "voltar"})


def test_move_is_made_now_and_the_user_was_active_when_the_message_was_received() -> None:
    user = make_user("dormant")
    result = hear(user, "oi", NOW - SECOND, now=NOW)
    assert (stored(user)["last_activity_at"], stored(user)["updated_at"]) == (NOW - SECOND, NOW)
    assert result.transition is not None
    assert result.transition.created_at == NOW


def test_audit_row_names_the_message_and_never_its_text() -> None:
    user = make_user("dormant")
    result = hear(user, "um segredo", NOW.astimezone(timezone(timedelta(hours=-3))))
    assert result.transition is not None
    metadata = EngagementStateTransition.objects.get().metadata
    assert metadata == {
        "days_inactive": 31,
        "trigger_source": "user_message",
        "unprompted_return": True,
        "received_at": "2026-03-02T06:00:00+00:00",
        "text_digest": metadata["text_digest"],
    }
    assert len(metadata["text_digest"]) == 16
    assert "segredo" not in str(all_rows())


def test_digest_of_a_text_is_another_one_for_every_user() -> None:
    for _ in range(2):
        hear(make_user("dormant"), "2")
    first, second = EngagementStateTransition.objects.values_list("metadata__text_digest", flat=True)
    assert first != second


def test_digest_is_the_same_in_every_version(settings: Settings) -> None:
    """Or else the version of tomorrow would not know again what was heard today."""
    settings.SECRET_KEY = "a key"  # noqa: S105  of this test alone
    hear(make_user("dormant", user__user_id=UUID("01a20973-e405-7045-8100-fd34dcbb7270")), "olá")
    assert EngagementStateTransition.objects.get().metadata["text_digest"] == "d517ccf209e7dc89"


def test_clock_that_is_ahead_counts_as_now() -> None:
    user = make_user("dormant")
    hear(user, "oi", NOW + DAY, now=NOW)
    assert stored(user)["last_activity_at"] == NOW


@pytest.mark.parametrize("naive", ["received_at", "now"])
def test_naive_time_is_refused(naive: str) -> None:
    times: dict[str, Any] = {"received_at": NOW, "now": NOW, naive: NOW.replace(tzinfo=None)}
    with pytest.raises(ValueError, match="has no offset"):
        receive_message(user_id=make_user().user_id, text="", **times)


def test_first_message_ever_creates_the_state_and_is_heeded() -> None:
    profile = UserProfileFactory.create()
    queue_for(profile, MessageType.GOODBYE)
    result = hear(profile, "stop", NOW - SECOND, now=NOW)
    created = UserEngagementState.objects.get(user=profile)
    assert (created.state, created.last_activity_at) == (State.ACTIVE, NOW - SECOND)
    assert (result.novelty, result.transition, result.preference) == ("new", None, "opted_out")
    assert result.cancelled == 1


def test_user_without_a_profile_is_not_found() -> None:
    with pytest.raises(EngagementStateNotFound):
        receive_message(user_id=uuid4(), text="stop", received_at=NOW, now=NOW)
    assert all_rows() == [[], [], [], []]


@pytest.mark.parametrize("text", ["\0", "\ud800", "a" * 1_000_000])
def test_no_text_is_too_odd(text: str) -> None:
    user = make_user("dormant")
    hear(user, text)
    assert state_of(user) == "active"


def test_message_goes_with_the_callers_transaction() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE)
    before = all_rows()
    with transaction.atomic():
        hear(user, "stop")
        transaction.set_rollback(True)
    assert all_rows() == before


def test_message_takes_few_statements() -> None:
    user = make_user()
    with CaptureQueriesContext(connection) as queries:
        hear(user, "oi")
    # Lock, look for a repetition, note the activity, cancel; and the savepoint of the test.
    assert len(queries) == 4 + 2


# A pending goodbye.


@pytest.mark.parametrize("text", ["1", "2", "3", "oi", "stop", "start"])
@pytest.mark.parametrize("state", STATES)
def test_nobody_who_is_here_gets_told_goodbye(state: str, text: str) -> None:
    user = a_user_in(state)
    queue_for(user, MessageType.GOODBYE)
    assert hear(user, text).cancelled == 1
    assert status_of_messages() == {"goodbye": "cancelled"}
    assert hear(user, "oi", NOW + SECOND).cancelled == 0
    assert status_of_messages() == {"goodbye": "cancelled"}


def test_messages_of_other_types_and_users_stay() -> None:
    user, other = make_user("goodbye_sent"), make_user("goodbye_sent")
    for message_type in MessageType:
        queue_for(user, message_type)
    theirs = queue_for(other, MessageType.GOODBYE)
    assert hear(user, "oi").cancelled == 1
    theirs.refresh_from_db()
    assert theirs.status == "pending"
    others = EngagementMessage.objects.filter(user_id=user.user_id).exclude(message_type="goodbye")
    assert {message.status for message in others} == {"pending"}


@pytest.mark.parametrize("status", sorted(set(MessageStatus.values) - {"pending"}))
def test_goodbye_that_is_not_pending_stays_as_it_is(status: str) -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE, status=status)
    assert hear(user, "oi").cancelled == 0
    assert status_of_messages() == {"goodbye": status}
