"""docs/sql/functions.sql does what the services do: the same states, dates, audit rows and messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from django.db import DataError, connection, transaction

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.deliveries import database_now
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.delivery.claim import attempt_time
from engagement.services.inbound_messages import receive_message
from engagement.services.message_queue import mark_expired_claims
from tests.factories import UserProfileFactory, make_user, queue_for
from tests.integration.delivery.sending import active_user, goodbye_of, told_user
from tests.running import PROJECT

pytestmark = pytest.mark.django_db

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
SECOND: Final = timedelta(seconds=1)
TEXTS: Final = {
    "user_message": "oi",
    "goodbye_response_1": "1",
    "goodbye_response_2": "2",
    "goodbye_response_3": "3",
}


@pytest.fixture(autouse=True)
def functions() -> None:
    with connection.cursor() as cursor:
        cursor.execute((PROJECT / "docs" / "sql" / "functions.sql").read_text())


def call(name: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name}({', '.join(['%s'] * len(values))})", values)
        return cursor.fetchone()[0]


def user_in(
    state: str, *, since: datetime, goodbye: MessageStatus = MessageStatus.SENT
) -> UserEngagementState:
    """A user who came into a state then, and was silent for 20 days before."""
    times: dict[str, Any] = {
        "goodbye_sent": {"goodbye_sent_at": since, "goodbye_expires_at": since + 2 * DAY},
        "remind_later": {"remind_at": since + 14 * DAY},
    }.get(state, {})
    user = make_user(state=state, last_activity_at=since - 20 * DAY, **times)
    if state == "goodbye_sent":
        queue_for(
            user,
            MessageType.GOODBYE,
            idempotency_key=goodbye_key(user.user_id, now=since),
            created_at=since,
            status=goodbye,
            claimed_at=None if goodbye == MessageStatus.PENDING else since,
        )
    if state == "dormant":
        EngagementStateTransition.objects.create(
            user_id=user.user_id,
            from_state="goodbye_sent",
            to_state="dormant",
            trigger="goodbye_timeout",
            created_at=since,
        )
    return user


@pytest.mark.parametrize("goodbye", [MessageStatus.SENT, MessageStatus.PENDING, MessageStatus.FAILED])
@pytest.mark.parametrize("trigger", TEXTS)
@pytest.mark.parametrize("state", ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"])
def test_a_message_does_what_receive_message_does(state: str, trigger: str, goodbye: MessageStatus) -> None:
    now = database_now()
    ours, theirs = (user_in(state, since=now - 5 * DAY, goodbye=goodbye) for _ in range(2))
    receive_message(user_id=ours.user_id, text=TEXTS[trigger], received_at=now, now=now)
    assert call("engagement_user_wrote", theirs.user_id, trigger, now) == stored(ours)["state"]
    assert comparable(ours) == comparable(theirs)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return dict(UserEngagementState.objects.filter(pk=user.pk).values().get())


def comparable(user: UserEngagementState) -> Any:
    """State, dates to the second, audit rows and messages, without ids and digests."""
    columns = (
        "state",
        "last_activity_at",
        "goodbye_sent_at",
        "goodbye_expires_at",
        "remind_at",
        "updated_at",
    )
    state = {name: rough(value) for name, value in stored(user).items() if name in columns}
    moves = []
    rows = EngagementStateTransition.objects.filter(user_id=user.user_id).order_by("created_at")
    for move in rows:
        metadata = {
            key: value for key, value in move.metadata.items() if key not in {"received_at", "text_digest"}
        }
        former = metadata.get("former_timestamps", {})
        metadata["former_timestamps"] = {key: rough(datetime.fromisoformat(former[key])) for key in former}
        moves.append((move.from_state, move.to_state, move.trigger, metadata, rough(move.created_at)))
    messages = EngagementMessage.objects.filter(user_id=user.user_id).values_list("status", "outcome_reason")
    return state, moves, list(messages)


class Near(float):
    """Seconds that equal others within half a minute: both sides read the clock for themselves."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) < 30

    __hash__ = float.__hash__


def rough(value: Any) -> Any:
    return Near(value.timestamp()) if isinstance(value, datetime) else value


@pytest.mark.parametrize("state", ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"])
@pytest.mark.parametrize("days_ago", [0, 4, 6, 30])
def test_a_late_message_does_what_it_does_there(state: str, days_ago: int) -> None:
    """The user came into their state five days ago and was last active twenty days before that."""
    now = database_now()
    heard_at = now - days_ago * DAY
    ours, theirs = (user_in(state, since=now - 5 * DAY) for _ in range(2))
    receive_message(user_id=ours.user_id, text="oi", received_at=heard_at, now=now)
    call("engagement_user_wrote", theirs.user_id, "user_message", heard_at)
    assert comparable(ours) == comparable(theirs)


def test_a_message_from_before_an_answer_does_not_end_what_the_answer_began() -> None:
    now = database_now()
    ours, theirs = (user_in("goodbye_sent", since=now - 5 * DAY) for _ in range(2))
    both = (("2", "goodbye_response_2", now - HOUR), ("oi", "user_message", now - 2 * HOUR))
    for text, trigger, at in both:
        receive_message(user_id=ours.user_id, text=text, received_at=at, now=now)
        call("engagement_user_wrote", theirs.user_id, trigger, at)
    assert stored(ours)["state"] == stored(theirs)["state"] == "remind_later"


def test_a_first_message_makes_the_state_and_an_unknown_user_is_null() -> None:
    profile = UserProfileFactory.create()
    assert call("engagement_user_wrote", profile.user_id, "user_message", database_now()) == "active"
    assert UserEngagementState.objects.get().user_id == profile.user_id
    assert call("engagement_user_wrote", uuid4(), "user_message", database_now()) is None


def test_an_unknown_trigger_is_an_error() -> None:
    user = user_in("goodbye_sent", since=database_now() - DAY)
    with pytest.raises(DataError, match="unknown trigger"), transaction.atomic():
        call("engagement_user_wrote", user.user_id, "goodbye_timeout", database_now())


# Sending.


def claim(sender: str = "mine") -> EngagementMessage | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM engagement_claim(%s)", [sender])
        row = cursor.fetchone()
    return EngagementMessage.objects.get(pk=row[0]) if row else None


def report(message: EngagementMessage, *values: Any) -> bool:
    return bool(call("engagement_report", message.id, message.attempt_id, *values))


def test_a_claim_is_committed_as_sending_and_extends_the_wait() -> None:
    user = told_user(ago=HOUR)
    message = claim()
    assert message
    assert (message.status, message.backend, message.user_id) == ("sending", "mine", user.user_id)
    assert message.attempt_id
    assert message.attempt_id.version == 7
    assert attempt_time(message.attempt_id) == message.claimed_at
    assert message.claimed_at
    assert message.claim_expires_at == message.claimed_at + timedelta(minutes=2)
    assert stored(user)["goodbye_expires_at"] == message.claimed_at + 48 * HOUR
    assert claim() is None


def test_a_claim_cancels_what_must_not_be_sent_any_more() -> None:
    opted_out, gone, active, late = told_user(), told_user(), told_user(), told_user(ago=49 * HOUR)
    UserProfile.objects.filter(pk=opted_out.user_id).update(reengagement_opt_out=True)
    UserProfile.objects.filter(pk=gone.user_id).update(whatsapp_jid=" ")
    UserEngagementState.objects.filter(pk=active.pk).update(
        state="active", goodbye_sent_at=None, goodbye_expires_at=None
    )
    assert claim() is None
    reasons = [goodbye_of(user).outcome_reason for user in (opted_out, gone, active, late)]
    assert reasons == ["opted_out", "no_address", "not_this_wait", "wait_over"]


def test_replies_are_claimed_first() -> None:
    told_user()
    at = database_now()
    queue_for(active_user(), MessageType.REPLY, scheduled_for=at - HOUR, created_at=at)
    first = claim()
    assert first
    assert first.message_type == "reply"


def test_outcomes_are_fenced_by_the_attempt_and_proof_of_acceptance_wins() -> None:
    told_user()
    message = claim()
    assert message
    assert report(message, "not_sent")
    row = EngagementMessage.objects.get()
    assert (row.status, row.attempt_id, row.retry_count) == ("pending", None, 0)
    EngagementMessage.objects.update(next_attempt_at=None)
    again = claim()
    assert again
    assert not report(message, "failed")
    assert not report(message, "unknown")
    assert EngagementMessage.objects.get().status == "sending"
    # The first attempt had arrived after all.
    assert report(message, "sent", "wamid.A")
    row = EngagementMessage.objects.get()
    assert (row.status, row.provider_message_id) == ("sent", "wamid.A")
    assert row.sent_at == message.claimed_at
    assert report(again, "sent", "wamid.B")
    assert EngagementMessage.objects.get().provider_message_id == "wamid.A"


@pytest.mark.parametrize(("outcome", "retries"), [("failed", 1), ("unknown", 0)])
def test_an_end_is_recorded(outcome: str, retries: int) -> None:
    told_user()
    message = claim()
    assert message
    assert report(message, outcome, None, "why")
    row = EngagementMessage.objects.get()
    assert (row.status, row.outcome_reason, row.retry_count) == (outcome, "why", retries)
    assert claim() is None


def test_a_claim_that_expires_is_unknown_and_never_claimed_again() -> None:
    told_user()
    assert claim()
    mark_expired_claims(now=database_now() + HOUR)
    assert EngagementMessage.objects.get().status == "unknown"
    assert claim() is None


def test_an_unknown_outcome_word_is_an_error() -> None:
    with pytest.raises(DataError, match="unknown outcome"), transaction.atomic():
        call("engagement_report", uuid4(), uuid4(), "perhaps")


def test_what_belongs_to_an_erased_user_gets_no_id() -> None:
    message = queue_for(
        make_user(), MessageType.REPLY, status=MessageStatus.UNKNOWN, idempotency_key="erased:1"
    )
    call("engagement_report", message.id, UUID("01a00000-0000-7000-8000-000000000000"), "sent", "wamid.A")
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("sent", None)
