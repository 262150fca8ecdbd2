"""Receipts: repeated, out of order, of earlier attempts; proof of acceptance wins."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.message_backends.whatsapp_cloud import refusal_of
from engagement.models import EngagementMessage, MessageStatus, MessageType, SendingChannel
from engagement.selectors.deliveries import database_now, unknown_messages
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.channels import pause_sending, resume_sending
from engagement.services.delivery.outcomes import accept, resolve_unknown
from engagement.services.delivery.receipts import (
    Receipt,
    ReceiptEffect,
    ReceiptKind,
    callback_ids,
    take_receipt,
)
from engagement.services.preferences import opt_in
from engagement.services.support import Retry, retry_message
from engagement.states import State
from tests.factories import queue_for
from tests.integration.delivery.sending import ScriptedBackend, goodbye_of, send, told_user, unknown_goodbye
from tests.running import run_job
from tests.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db

OF_1970: Final = "00000000-0000-7000-8000-000000000000"
OF_2090: Final = "03700000-0000-7000-8000-000000000000"
RANDOM: Final = "8d7e4ad0-38a5-4c2e-9d0a-0c3f5b7f6c11"


@pytest.fixture
def user() -> UserEngagementState:
    return told_user()


@pytest.fixture
def sent(user: UserEngagementState) -> EngagementMessage:
    """A goodbye that was accepted."""
    send()
    return goodbye_of(user)


def take(message: EngagementMessage, kind: ReceiptKind, **options: Any) -> ReceiptEffect:
    now = database_now()
    facts = {"message_id": message.id, "attempt_id": message.attempt_id, "occurred_at": now, **options}
    return take_receipt(Receipt(kind=kind, **facts), now=now)


def test_callback_data_names_message_and_attempt(sent: EngagementMessage) -> None:
    assert sent.attempt_id
    assert callback_ids(f"{sent.id}:{sent.attempt_id}") == (sent.id, sent.attempt_id)
    assert [
        callback_ids(text) for text in (None, "", "7:8", str(sent.id), f"{sent.id}:{sent.attempt_id}:7")
    ] == [None] * 5


@pytest.mark.parametrize(
    "order", list(permutations([ReceiptKind.SENT, ReceiptKind.DELIVERED, ReceiptKind.READ]))
)
def test_receipts_in_any_order_and_repeated_end_the_same(
    sent: EngagementMessage, order: tuple[ReceiptKind, ...]
) -> None:
    for kind in order * 3:
        take(sent, kind)
    sent.refresh_from_db()
    assert (sent.status, sent.failed_at) == ("sent", None)
    assert sent.delivered_at
    assert sent.read_at


def test_repeated_receipt_changes_nothing(sent: EngagementMessage) -> None:
    assert take(sent, ReceiptKind.DELIVERED) is ReceiptEffect.RECORDED
    before = EngagementMessage.objects.values().get()
    assert take(sent, ReceiptKind.DELIVERED) is ReceiptEffect.REPEATED
    assert EngagementMessage.objects.values().get() == before


@pytest.mark.parametrize("status", ["sending", "unknown", "failed", "pending", "cancelled"])
@pytest.mark.parametrize("kind", [ReceiptKind.SENT, ReceiptKind.DELIVERED, ReceiptKind.READ])
def test_receipt_is_proof_whatever_the_status_is(
    sent: EngagementMessage, status: str, kind: ReceiptKind
) -> None:
    EngagementMessage.objects.update(status=status, sent_at=None, provider_message_id=None)
    take(sent, kind, provider_message_id="wamid.late")
    sent.refresh_from_db()
    assert (sent.status, sent.sent_at, sent.provider_message_id) == ("sent", sent.claimed_at, "wamid.late")


def test_receipt_of_an_earlier_attempt_is_proof_too(sent: EngagementMessage) -> None:
    earlier = Attempt.at(database_now() - HOUR)
    EngagementMessage.objects.update(status="unknown", sent_at=None, created_at=earlier.claimed_at)
    take(sent, ReceiptKind.DELIVERED, attempt_id=earlier.id)
    sent.refresh_from_db()
    assert (sent.status, sent.sent_at) == ("sent", earlier.claimed_at)


@pytest.mark.parametrize("attempt_id", [OF_1970, OF_2090, RANDOM])
def test_an_attempt_id_that_is_not_ours_is_no_clock(sent: EngagementMessage, attempt_id: str) -> None:
    claimed_at, now = sent.claimed_at, database_now()
    EngagementMessage.objects.update(status="unknown", sent_at=None)
    take(sent, ReceiptKind.SENT, attempt_id=UUID(attempt_id))
    sent.refresh_from_db()
    assert (sent.status, sent.sent_at) == ("sent", claimed_at)
    nothing = dict.fromkeys(["sent_at", "claimed_at", "attempt_id"])
    EngagementMessage.objects.update(status="pending", **nothing)
    take(sent, ReceiptKind.SENT, attempt_id=UUID(attempt_id), occurred_at=now)
    sent.refresh_from_db()
    assert (sent.status, sent.sent_at, sent.claimed_at, sent.attempt_id) == ("sent", now, None, None)


def test_failure_of_an_earlier_attempt_changes_nothing(sent: EngagementMessage) -> None:
    EngagementMessage.objects.update(status="sending")
    before = EngagementMessage.objects.values().get()
    earlier = Attempt.at(database_now() - HOUR).id
    assert take(sent, ReceiptKind.FAILED, attempt_id=earlier) is ReceiptEffect.EARLIER_ATTEMPT
    assert EngagementMessage.objects.values().get() == before


def test_failure_after_acceptance_is_recorded_and_not_retried(sent: EngagementMessage) -> None:
    take(sent, ReceiptKind.FAILED, refusal=Refused(Scope.RECIPIENT, "131026"))
    sent.refresh_from_db()
    assert (sent.status, sent.error_code) == ("sent", "131026")
    assert sent.failed_at
    backend = ScriptedBackend()
    send(backend)
    assert backend.received == []


def test_failure_of_a_template_pauses_it_in_the_language_of_the_user(
    user: UserEngagementState, sent: EngagementMessage
) -> None:
    type(user.user).objects.update(locale="en-US")
    take(sent, ReceiptKind.FAILED, refusal=Refused(Scope.TEMPLATE, "132015"))
    (channel,) = SendingChannel.objects.filter(paused_until__isnull=False)
    assert channel.scope == f"{sent.message_key}/en"


def test_code_of_a_refusal_before_acceptance_gives_way_to_that_of_the_failure(
    sent: EngagementMessage,
) -> None:
    EngagementMessage.objects.update(error_code="131056")
    take(sent, ReceiptKind.FAILED, refusal=Refused(Scope.RECIPIENT, "131026"))
    sent.refresh_from_db()
    assert sent.error_code == "131026"


def test_failure_of_the_account_pauses_sending(sent: EngagementMessage) -> None:
    take(sent, ReceiptKind.FAILED, refusal=Refused(Scope.ACCOUNT, "131031"))
    assert SendingChannel.objects.get(scope="", backend="scripted").paused_until
    assert send().exit_code == 5


def paused_until() -> datetime | None:
    channel = SendingChannel.objects.filter(scope="", backend="scripted").first()
    return channel.paused_until if channel else None


def old(sent: EngagementMessage) -> EngagementMessage:
    """The message as of a week ago."""
    sent.claimed_at = database_now() - 7 * DAY
    sent.save()
    return sent


def test_pause_counts_from_the_failure(sent: EngagementMessage) -> None:
    failed_at = database_now() - 5 * HOUR
    take(old(sent), ReceiptKind.FAILED, occurred_at=failed_at, refusal=Refused(Scope.ACCOUNT, "131031"))
    assert paused_until() == failed_at + 6 * HOUR


@pytest.mark.parametrize("scope", [Scope.ACCOUNT, Scope.THROTTLE])
def test_failure_of_long_ago_pauses_no_more(sent: EngagementMessage, scope: Scope) -> None:
    take(old(sent), ReceiptKind.FAILED, occurred_at=database_now() - 5 * DAY, refusal=Refused(scope, "368"))
    assert not SendingChannel.objects.filter(paused_until__isnull=False).exists()
    assert not SendingChannel.objects.filter(slowed_until__isnull=False).exists()


def test_failure_from_before_sending_was_resumed_does_not_pause_again(sent: EngagementMessage) -> None:
    now = database_now()
    other = goodbye_of(told_user())
    send()
    refusal = Refused(Scope.CONFIGURATION, "131042")
    take(old(sent), ReceiptKind.FAILED, occurred_at=now, refusal=refusal)
    resume_sending(backend="scripted", now=database_now())
    other.refresh_from_db()
    take(old(other), ReceiptKind.FAILED, occurred_at=now, refusal=refusal)
    assert paused_until() is None
    take(sent, ReceiptKind.FAILED, occurred_at=now, refusal=refusal)
    assert paused_until() is None


def test_failure_from_before_a_template_was_resumed_pauses_nothing(
    sent: EngagementMessage,
) -> None:
    now = database_now()
    pause_sending(backend="scripted", until=now + HOUR, reason="x", now=now, scope="goodbye_v1/en")
    SendingChannel.objects.filter(scope="").delete()
    resume_sending(backend="scripted", now=database_now())
    take(old(sent), ReceiptKind.FAILED, occurred_at=now, refusal=Refused(Scope.CONFIGURATION, "131042"))
    assert not SendingChannel.objects.filter(paused_until__isnull=False).exists()


def test_repeated_failure_pauses_if_the_first_one_could_not(sent: EngagementMessage) -> None:
    """The database failed between the two transactions."""
    refusal = Refused(Scope.ACCOUNT, "131031")
    take(sent, ReceiptKind.FAILED, refusal=refusal)
    first = paused_until()
    SendingChannel.objects.all().delete()
    assert take(sent, ReceiptKind.FAILED, refusal=refusal) is ReceiptEffect.REPEATED
    assert paused_until() == first


def test_failure_that_says_stop_does_not_undo_a_later_opt_in(
    user: UserEngagementState, sent: EngagementMessage
) -> None:
    stopped_at = database_now()
    opt_in(user_id=user.user_id, now=database_now())
    take(sent, ReceiptKind.FAILED, occurred_at=stopped_at, refusal=Refused(Scope.OPTED_OUT, "131050"))
    user.user.refresh_from_db()
    assert not user.user.reengagement_opt_out


def test_failure_with_a_code_that_says_too_little_keeps_it(sent: EngagementMessage) -> None:
    take(sent, ReceiptKind.FAILED, refusal=refusal_of(130497))
    sent.refresh_from_db()
    assert (sent.status, sent.error_code) == ("sent", "130497")


def test_failure_that_says_stop_opts_the_user_out(user: UserEngagementState, sent: EngagementMessage) -> None:
    take(sent, ReceiptKind.FAILED, refusal=Refused(Scope.OPTED_OUT, "131050"))
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


def test_receipt_is_found_by_the_providers_id(sent: EngagementMessage) -> None:
    known = sent.provider_message_id
    effect = take(sent, ReceiptKind.READ, message_id=None, attempt_id=None, provider_message_id=known)
    assert effect is ReceiptEffect.RECORDED


def test_receipt_of_an_unknown_message_is_counted_as_such(sent: EngagementMessage) -> None:
    effect = take(sent, ReceiptKind.READ, message_id=None, provider_message_id="wamid.unheard")
    assert effect is ReceiptEffect.UNKNOWN_MESSAGE


def test_delivery_extends_the_wait_from_its_own_time(
    user: UserEngagementState, sent: EngagementMessage
) -> None:
    assert sent.claimed_at
    EngagementMessage.objects.update(claimed_at=sent.claimed_at - 5 * HOUR)
    delivered_at = database_now() + MINUTE
    for at in (delivered_at, delivered_at + 9 * DAY):
        take_receipt(
            Receipt(kind=ReceiptKind.DELIVERED, message_id=sent.id, occurred_at=at), now=delivered_at
        )
    user.refresh_from_db()
    assert user.goodbye_expires_at == delivered_at + 2 * DAY


def test_delivery_of_a_former_goodbye_extends_no_wait(
    user: UserEngagementState, sent: EngagementMessage
) -> None:
    former = queue_for(
        user, MessageType.GOODBYE, status=MessageStatus.SENT, created_at=database_now() - 60 * DAY
    )
    take(former, ReceiptKind.DELIVERED, attempt_id=None, occurred_at=database_now() + MINUTE)
    user.refresh_from_db()
    assert sent.claimed_at
    assert user.goodbye_expires_at == sent.claimed_at + 2 * DAY


def test_repeated_failure_with_another_code_changes_nothing(sent: EngagementMessage) -> None:
    first, other = (Refused(Scope.RECIPIENT, code) for code in ("131026", "131049"))
    assert take(sent, ReceiptKind.FAILED, refusal=first) is ReceiptEffect.RECORDED
    assert take(sent, ReceiptKind.FAILED, refusal=other) is ReceiptEffect.REPEATED
    sent.refresh_from_db()
    assert sent.error_code == "131026"


def test_late_acceptance_wins_over_an_unknown_outcome(user: UserEngagementState) -> None:
    send(ScriptedBackend(Unknown("timeout")))
    message = goodbye_of(user)
    accept(message_id=message.id, attempt_id=message.attempt_id, provider_message_id="wamid.x")
    message.refresh_from_db()
    assert (message.status, message.sent_at, message.outcome_reason) == ("sent", message.claimed_at, None)


def test_refusal_of_an_attempt_that_is_over_changes_nothing(user: UserEngagementState) -> None:
    def lose_the_claim(_message: object) -> Refused:
        row = goodbye_of(user)
        accept(message_id=row.id, attempt_id=row.attempt_id, provider_message_id=None)
        return Refused(Scope.RECIPIENT, "131026")

    send(ScriptedBackend(lose_the_claim))
    assert goodbye_of(user).status == "sent"


# Resolving


def test_person_resolves_an_unknown_message_as_arrived() -> None:
    claimed_at = database_now() - HOUR
    message = unknown_goodbye(claimed_at=claimed_at)
    assert resolve_unknown(message_id=message.id, arrived=True)
    message.refresh_from_db()
    assert (message.status, message.sent_at) == ("sent", claimed_at)


def test_message_that_did_not_arrive_has_failed_and_can_be_retried() -> None:
    message = unknown_goodbye(claimed_at=database_now() - HOUR)
    assert resolve_unknown(message_id=message.id, arrived=False)
    message.refresh_from_db()
    assert (message.status, message.retry_count) == ("failed", 1)
    assert retry_message(message_id=message.id, now=database_now()) is Retry.QUEUED
    assert send().counts.sent == 1


@pytest.mark.parametrize("status", [status for status in MessageStatus if status != "unknown"])
def test_only_unknown_messages_are_resolved(sent: EngagementMessage, status: str) -> None:
    EngagementMessage.objects.update(status=status)
    assert not resolve_unknown(message_id=sent.id, arrived=False)
    sent.refresh_from_db()
    assert sent.status == status


def test_unknown_messages_are_found_by_backend_and_time() -> None:
    message = unknown_goodbye(claimed_at=database_now() - HOUR)
    EngagementMessage.objects.update(backend="scripted")
    now = database_now()
    queue_for(told_user(), MessageType.WELCOME, status="sent", backend="scripted", claimed_at=now - HOUR)
    assert unknown_messages(backend="scripted", claimed_before=now) == [message.id]
    assert unknown_messages(backend="other", claimed_before=now) == []
    assert unknown_messages(backend="scripted", claimed_before=now - 2 * HOUR) == []


# The wait


def test_goodbye_that_was_sent_late_still_has_its_wait() -> None:
    user = told_user(ago=47 * HOUR)
    send(ScriptedBackend(Accepted()))
    run_job(now=database_now() + 2 * HOUR)
    user.refresh_from_db()
    assert user.state == State.GOODBYE_SENT
    run_job(now=database_now() + 2 * DAY + timedelta(seconds=1))
    user.refresh_from_db()
    assert user.state == State.DORMANT
