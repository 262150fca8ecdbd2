"""Messages in, against PostgreSQL: who is moved, what is cancelled, what is answered, and what twice."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
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
    UserProfile,
)
from engagement.services.inbound import InboundResult, receive_message
from engagement.services.preferences import opt_in, opt_out
from engagement.services.state_machine import EngagementStateNotFound
from engagement.states import State
from tests.factories import NOW, TICK, UserProfileFactory, make_user, queue_for
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)
TOLD_AT: Final = NOW - timedelta(hours=48) - TICK
"""When the users of the trait `goodbye_sent` were told goodbye."""
STATES: Final = ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"]


def hear(
    user: UserEngagementState | UserProfile, text: str, at: datetime = NOW, *, now: datetime | None = None
) -> InboundResult:
    return receive_message(user_id=user.user_id, text=text, received_at=at, now=now or max(at, NOW))


def a_user_in(state: str, **fields: Any) -> UserEngagementState:
    return make_user(*{state} - {"active"}, **fields)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return {**UserEngagementState.objects.values().get(pk=user.pk)}


def state_of(user: UserEngagementState) -> str:
    return str(stored(user)["state"])


def everything() -> list[list[dict[str, Any]]]:
    tables = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)
    return [[{**row} for row in table.objects.order_by("pk").values()] for table in tables]


def status_of_messages() -> dict[str, str]:
    return dict(EngagementMessage.objects.values_list("message_type", "status"))


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
    assert "segredo" not in str(everything())


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
    times = {"received_at": NOW, "now": NOW, naive: NOW.replace(tzinfo=None)}
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
    assert everything() == [[], [], [], []]


@pytest.mark.parametrize("text", ["\0", "\ud800", "a" * 1_000_000])
def test_no_text_is_too_odd(text: str) -> None:
    user = make_user("dormant")
    hear(user, text)
    assert state_of(user) == "active"


def test_message_goes_with_the_callers_transaction() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE)
    before = everything()
    with transaction.atomic():
        hear(user, "stop")
        transaction.set_rollback(True)
    assert everything() == before


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


# The same message again.


@pytest.mark.parametrize("text", ["1", "2", "3", "oi", "parar", "voltar"])
@pytest.mark.parametrize("state", STATES)
def test_message_may_be_repeated(state: str, text: str) -> None:
    user = a_user_in(state)
    first = hear(user, text)
    before = (state_of(user), EngagementStateTransition.objects.count(), status_of_messages())
    again = hear(user, text, NOW, now=NOW + DAY)
    assert (again.transition, again.preference, again.reply_key) == (
        first.transition,
        first.preference,
        first.reply_key,
    )
    assert again.novelty == ("new" if state == "active" else "repeat")
    assert again.cancelled == 0
    assert (state_of(user), EngagementStateTransition.objects.count(), status_of_messages()) == before


def test_repetition_is_recognised_whatever_the_clock_says_and_the_job_did() -> None:
    user = make_user("goodbye_sent")
    ahead = NOW + timedelta(seconds=5)
    first = hear(user, "2", ahead, now=NOW)
    run_job(now=NOW + 15 * DAY)
    assert state_of(user) == "dormant"
    again = hear(user, "2", ahead.astimezone(timezone(timedelta(hours=9))), now=NOW + 16 * DAY)
    assert (again.novelty, again.transition, again.reply_key) == ("repeat", first.transition, first.reply_key)
    assert state_of(user) == "dormant"


def test_other_text_of_the_same_second_is_another_message() -> None:
    """WhatsApp's clock has whole seconds."""
    user = make_user("goodbye_sent")
    hear(user, "2")
    assert hear(user, "na verdade, oi").novelty == "new"
    assert state_of(user) == "active"
    hear(user, "2")
    assert state_of(user) == "active"


def test_same_text_at_another_time_is_another_message() -> None:
    user = make_user("goodbye_sent")
    hear(user, "2")
    assert hear(user, "2", NOW + SECOND).novelty == "new"
    assert state_of(user) == "active"


# Messages that come late.


def test_message_on_its_way_when_the_goodbye_was_said_cancels_it_and_does_not_answer_it() -> None:
    user = make_user("silent")
    run_job()
    result = hear(user, "2", NOW - SECOND, now=NOW + SECOND)
    assert (state_of(user), result.cancelled, result.reply_key) == ("active", 1, None)
    assert stored(user)["last_activity_at"] == NOW - SECOND


def test_who_came_back_while_the_goodbye_was_being_said_did_so_after_it_in_the_audit_log() -> None:
    """The caller takes the time, and then waits for the job, which has had the user locked since before."""
    user = make_user("silent")
    run_job()
    assert hear(user, "oi", NOW - SECOND, now=NOW - SECOND).novelty == "new"
    in_order = EngagementStateTransition.objects.order_by("created_at", "id")
    assert [move.trigger for move in in_order] == ["inactivity_14d", "user_message"]
    assert stored(user)["last_activity_at"] == NOW - SECOND


def test_who_came_back_while_they_were_timed_out_did_so_after_it_in_the_audit_log() -> None:
    user = make_user("goodbye_sent")
    run_job()
    assert hear(user, "2", NOW - SECOND, now=NOW - SECOND).reply_key is None
    in_order = EngagementStateTransition.objects.order_by("created_at", "id")
    assert [move.trigger for move in in_order] == ["goodbye_timeout", "user_message"]


def test_clock_that_is_behind_makes_no_answer_of_what_came_before_the_goodbye() -> None:
    user = make_user("silent")
    run_job()
    assert hear(user, "2", NOW + SECOND, now=NOW - SECOND).reply_key is None


@pytest.mark.parametrize("step", [-TICK, 0 * TICK])
def test_message_that_was_counted_takes_back_no_goodbye_that_came_after_it(step: timedelta) -> None:
    user = make_user("silent")
    run_job()
    before = everything()
    result = hear(user, "oi", user.last_activity_at + step, now=NOW + SECOND)
    assert (result.novelty, result.transition, result.reply_key, result.cancelled) == ("old", None, None, 0)
    assert everything() == before


@pytest.mark.parametrize("state", ["dormant", "help_flow", "remind_later"])
def test_who_was_put_into_a_state_by_another_program_is_brought_back_by_any_message(state: str) -> None:
    user = a_user_in(state, last_activity_at=NOW)
    assert hear(user, "oi", NOW).novelty == "new"
    assert state_of(user) == "active"


def test_message_as_old_as_the_last_activity_still_answers_a_later_goodbye() -> None:
    user = make_user("goodbye_sent", last_activity_at=NOW)
    assert hear(user, "3", NOW).reply_key == "engagement.reply.door_is_open"


def test_message_of_the_very_instant_of_the_goodbye_answers_it() -> None:
    user = make_user(
        "goodbye_sent", last_activity_at=NOW, goodbye_sent_at=NOW, goodbye_expires_at=NOW + 2 * DAY
    )
    assert hear(user, "3", NOW).reply_key == "engagement.reply.door_is_open"


def test_message_that_was_counted_does_not_bring_back_who_went_dormant_after_it() -> None:
    user = make_user("goodbye_sent")
    run_job()
    assert hear(user, "oi", user.last_activity_at, now=NOW + SECOND).novelty == "old"
    assert state_of(user) == "dormant"


def test_goodbye_queued_for_an_active_user_is_cancelled_by_the_very_message_that_was_counted() -> None:
    user = make_user(last_activity_at=NOW)
    queue_for(user, MessageType.GOODBYE)
    assert hear(user, "oi", NOW).cancelled == 1


def test_message_from_before_an_answer_does_not_undo_the_answer() -> None:
    user = make_user("goodbye_sent")
    hear(user, "2")
    before = everything()
    result = hear(user, "oi", NOW - TICK)
    assert (result.novelty, result.transition, result.reply_key) == ("old", None, None)
    assert everything() == before


def test_late_answer_to_a_goodbye_that_ran_out_brings_the_user_back() -> None:
    user = make_user("goodbye_sent")
    run_job()
    result = hear(user, "2", NOW - SECOND, now=NOW + SECOND)
    assert (state_of(user), result.reply_key) == ("active", None)


# Wishes.


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
        "tier_unlock": "pending",
        "goodbye": "cancelled",
        "reminder": "cancelled",
        "weekly_review": "cancelled",
        "help_restart": "cancelled",
    }


def test_opting_in_by_text_brings_nothing_back() -> None:
    user = make_user(user__reengagement_opt_out=True)
    queue_for(user, MessageType.REMINDER, status="cancelled")
    result = hear(user, "voltar")
    assert (wishes(user), result.preference, result.reply_key) == (
        False,
        "opted_in",
        "engagement.reply.opted_in",
    )
    assert status_of_messages() == {"reminder": "cancelled"}


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
