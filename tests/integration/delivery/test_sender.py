"""The sender: what it claims, what it leaves, and how each answer ends."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from engagement.management.output.send_report import send_report
from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import EngagementMessage, MessageStatus, MessageType, SendingChannel, UserProfile
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.attempts import attempt_time
from engagement.services.delivery.result import SendStatus
from engagement.services.message_queue import EXPIRED_CLAIM
from engagement.services.preferences import opt_out
from tests.factories import queue_for
from tests.integration.delivery.sending import (
    ScriptedBackend,
    active_user,
    goodbye_of,
    send,
    statuses,
    told_user,
)
from tests.running import run_job
from tests.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.message_backends.base import OutgoingMessage, SendOutcome

pytestmark = pytest.mark.django_db


def test_due_goodbye_is_sent_with_the_text_in_the_users_language() -> None:
    user = told_user(locale="en-GB")
    backend = ScriptedBackend()
    result = send(backend)
    message = goodbye_of(user)
    assert (result.status, result.due, result.counts.sent, result.exit_code) == (
        SendStatus.SUCCEEDED,
        1,
        1,
        0,
    )
    (received,) = backend.received
    assert received.text.startswith("Hi!")
    assert (received.language, received.to) == ("en", user.user.whatsapp_jid)
    assert received.callback_data == f"{message.id}:{message.attempt_id}"
    assert (message.status, message.provider_message_id) == ("sent", "wamid.1")
    assert message.sent_at == message.claimed_at == attempt_time(message.attempt_id)


def test_message_is_committed_as_sending_while_the_backend_works() -> None:
    user = told_user()
    seen: list[Any] = []

    def look(message: OutgoingMessage) -> SendOutcome:
        row = goodbye_of(user)
        seen.append((row.status, row.attempt_id, row.claim_expires_at is not None))
        return Accepted()

    backend = ScriptedBackend(look)
    send(backend)
    assert seen == [("sending", backend.received[0].attempt_id, True)]


def test_second_sender_finds_nothing_to_send() -> None:
    told_user()
    send()
    assert send().due == 0


def test_claim_extends_the_wait_of_a_goodbye() -> None:
    user = told_user(ago=5 * HOUR)
    send()
    message = goodbye_of(user)
    before = user.goodbye_sent_at
    user.refresh_from_db()
    assert message.claimed_at
    assert (user.goodbye_sent_at, user.goodbye_expires_at) == (before, message.claimed_at + 2 * DAY)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"whatsapp_jid": None}, "no_address"),
        ({"whatsapp_jid": " "}, "no_address"),
        ({"whatsapp_jid": "\u200b"}, "no_address"),
        ({"reengagement_opt_out": True}, "opted_out"),
    ],
)
def test_goodbye_is_cancelled_if_the_profile_has_changed(change: dict[str, Any], reason: str) -> None:
    user = told_user()
    UserProfile.objects.filter(pk=user.user_id).update(**change)
    backend = ScriptedBackend()
    assert send(backend).counts.cancelled == 1
    message = goodbye_of(user)
    assert (backend.received, message.status, message.outcome_reason) == ([], "cancelled", reason)


def test_goodbye_of_an_earlier_wait_is_cancelled() -> None:
    user = told_user()
    old = queue_for(user.user, MessageType.GOODBYE, scheduled_for=database_now() - DAY)
    backend = ScriptedBackend()
    send(backend)
    old.refresh_from_db()
    assert (old.status, old.outcome_reason) == ("cancelled", "not_this_wait")
    assert [message.message_id for message in backend.received] == [
        goodbye.id for goodbye in EngagementMessage.objects.filter(status="sent")
    ]


def test_goodbye_whose_wait_is_over_is_cancelled() -> None:
    user = told_user(ago=49 * HOUR)
    send()
    message = goodbye_of(user)
    assert (message.status, message.outcome_reason) == ("cancelled", "wait_over")


@pytest.mark.parametrize(
    ("kind", "age", "is_sent"),
    [
        (MessageType.WELCOME, 47 * HOUR, True),
        (MessageType.WELCOME, 48 * HOUR, False),
        (MessageType.REMINDER, 48 * HOUR, False),
        (MessageType.REPLY, 22 * HOUR, True),
        (MessageType.REPLY, 23 * HOUR, False),
    ],
)
def test_message_that_is_too_old_is_cancelled(kind: MessageType, age: timedelta, *, is_sent: bool) -> None:
    at = database_now() - age
    message = queue_for(active_user().user, kind, scheduled_for=at, created_at=at)
    send()
    message.refresh_from_db()
    expected = ("sent", None) if is_sent else ("cancelled", "too_old")
    assert (message.status, message.outcome_reason) == expected


def test_opted_out_user_still_gets_replies() -> None:
    user = active_user()
    opt_out(user_id=user.user_id, now=database_now())
    at = database_now() - MINUTE
    queue_for(user.user, MessageType.REPLY, scheduled_for=at, created_at=at)
    queue_for(user.user, MessageType.REMINDER, scheduled_for=at, created_at=at)
    backend = ScriptedBackend()
    send(backend)
    assert [message.message_type for message in backend.received] == ["reply"]


def test_replies_are_sent_first() -> None:
    at = database_now() - HOUR
    queue_for(active_user().user, MessageType.WELCOME, scheduled_for=at - HOUR, created_at=at)
    queue_for(active_user().user, MessageType.REPLY, scheduled_for=at, created_at=at)
    backend = ScriptedBackend()
    send(backend)
    assert [message.message_type for message in backend.received] == ["reply", "welcome"]


# Outcomes


def test_unknown_outcome_is_parked_and_never_sent_again() -> None:
    user = told_user()
    result = send(ScriptedBackend(Unknown("timeout")))
    assert (result.status, result.exit_code, result.counts.unknown) == (SendStatus.PARTIAL, 3, 1)
    assert [error.reason for error in result.counts.errors] == ["timeout"]
    backend = ScriptedBackend()
    assert send(backend, now=database_now() + 40 * HOUR).due == 0
    assert (backend.received, goodbye_of(user).status) == ([], "unknown")


def test_backend_that_raises_leaves_the_outcome_unknown_and_goes_on() -> None:
    def raise_it(message: OutgoingMessage) -> SendOutcome:
        raise RuntimeError(message.to)

    told_user()
    told_user()
    assert send(ScriptedBackend(raise_it)).counts.sent == 1
    assert statuses() == ["sent", "unknown"]


def test_message_that_cannot_be_rendered_does_not_hold_up_the_others() -> None:
    user = told_user()
    told_user()
    EngagementMessage.objects.filter(user_id=user.user_id).update(message_key="no.such.key")
    assert send().counts.sent == 1
    message = goodbye_of(user)
    assert (message.status, message.outcome_reason) == ("failed", "cannot_be_rendered")


def test_message_with_impossible_parameters_does_not_hold_up_the_others() -> None:
    user = told_user()
    told_user()
    EngagementMessage.objects.filter(user_id=user.user_id).update(message_params=7)
    result = send()
    assert (result.counts.sent, result.counts.failed) == (1, 1)


def test_permanent_refusal_fails_the_message() -> None:
    user = told_user()
    result = send(ScriptedBackend(Refused(Scope.RECIPIENT, "131026")))
    message = goodbye_of(user)
    assert (message.status, message.error_code, message.retry_count) == ("failed", "131026", 1)
    assert result.as_json()["errors"] == [
        {"message_id": str(message.id), "status": "failed", "reason": "131026"}
    ]


@pytest.mark.parametrize("scope", [Scope.CONFIGURATION, Scope.ACCOUNT])
def test_error_of_the_account_pauses_all_and_costs_no_attempt(scope: Scope) -> None:
    users = [told_user() for _ in range(3)]
    backend = ScriptedBackend(Accepted(), Refused(scope, "190"))
    result = send(backend)
    assert (result.status, result.exit_code, len(backend.received)) == (SendStatus.PAUSED, 5, 2)
    assert result.paused_until
    assert result.pause_reason == f"{scope.value} error 190"
    assert statuses() == ["pending", "pending", "sent"]
    untried = [goodbye_of(user) for user in users]
    assert [(m.retry_count, m.attempt_id is None) for m in untried if m.status == "pending"] == [
        (0, True)
    ] * 2
    assert send(ScriptedBackend()).exit_code == 5


def test_error_of_a_template_holds_back_this_template_alone() -> None:
    told_user()
    told_user(locale="en")
    send(ScriptedBackend(Refused(Scope.TEMPLATE, "132001")))
    assert statuses() == ["pending", "sent"]
    waiting = EngagementMessage.objects.get(status="pending")
    send()
    waiting.refresh_from_db()
    assert (waiting.status, waiting.outcome_reason) == ("pending", "waiting_pause")


def test_throttled_message_is_tried_again_at_a_later_slot() -> None:
    user = told_user()
    send(ScriptedBackend(Refused(Scope.THROTTLE, "130429", timedelta(minutes=7))))
    message, channel = goodbye_of(user), SendingChannel.objects.get()
    assert (message.status, message.retry_count, message.claimed_at) == ("pending", 0, None)
    assert channel.next_slot_at
    assert channel.next_slot_at - database_now() > 6 * MINUTE


def test_message_fails_after_its_attempts(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_MAX_ATTEMPTS = 2
    user = told_user()
    later = Refused(Scope.RECIPIENT_LATER, "131056", MINUTE)
    send(ScriptedBackend(later))
    message = goodbye_of(user)
    assert (message.status, message.retry_count, message.outcome_reason) == ("pending", 1, "waiting_retry")
    assert send().due == 0
    send(ScriptedBackend(later), now=database_now() + 2 * MINUTE)
    message.refresh_from_db()
    assert (message.status, message.retry_count) == ("failed", 2)


def test_refusal_that_says_stop_opts_the_user_out() -> None:
    user = told_user()
    reminder = queue_for(user.user, MessageType.REMINDER, scheduled_for=database_now() + DAY)
    send(ScriptedBackend(Refused(Scope.OPTED_OUT, "131050")))
    user.user.refresh_from_db()
    reminder.refresh_from_db()
    assert goodbye_of(user).status == "failed"
    assert (user.user.reengagement_opt_out, reminder.status) == (True, "cancelled")


def test_claim_that_was_never_ended_becomes_unknown() -> None:
    user = told_user()
    EngagementMessage.objects.update(
        status=MessageStatus.SENDING,
        claimed_at=database_now() - HOUR,
        claim_expires_at=database_now() - MINUTE,
    )
    send()
    message = goodbye_of(user)
    assert (message.status, message.outcome_reason) == ("unknown", EXPIRED_CLAIM)


def test_daily_job_marks_expired_claims_too() -> None:
    user = told_user()
    EngagementMessage.objects.update(
        status=MessageStatus.SENDING,
        claimed_at=database_now() - HOUR,
        claim_expires_at=database_now() - MINUTE,
    )
    run_job(now=database_now())
    assert goodbye_of(user).status == "unknown"


# What holds messages back


def test_message_outside_the_hours_waits_at_most_an_hour(settings: Settings) -> None:
    user = told_user(time_zone="UTC")
    local = database_now()
    settings.ENGAGEMENT_SEND_HOURS = f"{local + 3 * HOUR:%H:00}-{local + 5 * HOUR:%H:00}"
    result = send()
    message = goodbye_of(user)
    assert (result.counts.waiting, message.status, message.outcome_reason) == (1, "pending", "waiting_hours")
    assert message.next_attempt_at
    assert timedelta() < message.next_attempt_at - local <= HOUR + MINUTE
    assert send(now=local + 3 * HOUR + MINUTE).counts.sent == 1


def test_hours_count_in_the_users_time_zone(settings: Settings) -> None:
    local = database_now()
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{local - HOUR:%H:00}-{local + 2 * HOUR:%H:00}"
    told_user()
    told_user(time_zone="Pacific/Kiritimati")
    told_user(time_zone="Mars/Olympus")
    assert statuses() == ["pending"] * 3
    send()
    assert statuses() == ["pending", "sent", "sent"]


def test_no_more_people_than_the_cap_are_sent_to_in_a_day(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = 2
    for _ in range(3):
        told_user()
    backend = ScriptedBackend(Accepted(), Unknown("reset"))
    send(backend)
    assert len(backend.received) == 2
    assert EngagementMessage.objects.get(status="pending").outcome_reason == "waiting_cap"


def test_a_reply_takes_no_place_of_the_cap(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = 1
    at = database_now() - MINUTE
    queue_for(active_user(), MessageType.REPLY, scheduled_for=at, created_at=at)
    told_user()
    assert send().counts.sent == 2


def test_only_allowed_addresses_are_sent_to(settings: Settings) -> None:
    told_user()
    tester = told_user()
    settings.ENGAGEMENT_SEND_ALLOW_ONLY = f"{tester.user.whatsapp_jid}, 999@s.whatsapp.net"
    send()
    assert goodbye_of(tester).status == "sent"
    assert statuses() == ["pending", "sent"]


def test_sender_takes_only_its_types(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_TYPES = "reply, goodbye"
    at = database_now() - MINUTE
    queue_for(active_user().user, MessageType.WELCOME, scheduled_for=at)
    told_user()
    assert send().counts.sent == 1
    assert statuses() == ["pending", "sent"]


def test_limit_counts_what_the_backend_gets() -> None:
    for _ in range(3):
        told_user()
    assert send(limit=2).counts.sent == 2


def test_dry_run_writes_nothing() -> None:
    user = told_user()
    told_user(reengagement_opt_out=False)
    UserProfile.objects.filter(pk=user.user_id).update(reengagement_opt_out=True)
    backend = ScriptedBackend()
    result = send(backend, dry_run=True)
    assert (result.counts.sent, result.counts.cancelled, backend.received) == (1, 1, [])
    assert statuses() == ["pending", "pending"]


def test_dry_run_counts_no_more_than_the_limit() -> None:
    for _ in range(3):
        told_user()
    assert send(dry_run=True, limit=2).counts.sent == 2


def test_dry_run_counts_no_more_people_than_the_cap_has_places_for(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = "3"
    for _ in range(4):
        told_user()
    send(limit=1)
    at = database_now() - MINUTE
    queue_for(active_user().user, MessageType.REPLY, scheduled_for=at, created_at=at)
    counts = send(dry_run=True).counts
    assert (counts.sent, counts.waiting) == (3, 1)


def test_the_most_frequent_refusal_is_reported() -> None:
    for _ in range(3):
        told_user()
    refused = [Refused(Scope.RECIPIENT_LATER, "131056"), *[Refused(Scope.RECIPIENT_LATER, "100")] * 2]
    result = send(ScriptedBackend(*refused))
    assert (result.exit_code, result.counts.waiting) == (0, 3)
    assert result.as_json()["refusals"] == {"recipient_later (100)": 2, "recipient_later (131056)": 1}
    assert "Refused, and to be tried again: recipient_later (100), 2 of 3 times." in send_report(result)
