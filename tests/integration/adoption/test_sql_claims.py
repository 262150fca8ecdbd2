"""docs/sql/functions.sql claims and reports messages as the sender does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DataError, transaction

from engagement.models import EngagementMessage, MessageStatus, MessageType, UserEngagementState, UserProfile
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.attempts import attempt_time
from engagement.services.message_queue import mark_expired_claims
from tests.factories import make_user, queue_for
from tests.integration.adoption.sql_functions import call, claim, create_functions, report
from tests.integration.delivery.sending import active_user, goodbye_of, told_user
from tests.times import HOUR

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def functions() -> None:
    create_functions()


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
    assert UserEngagementState.objects.get(pk=user.pk).goodbye_expires_at == message.claimed_at + 48 * HOUR
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


def test_a_goodbye_of_the_wait_that_has_another_key_is_claimed() -> None:
    user = told_user()
    EngagementMessage.objects.update(idempotency_key="another")
    message = claim()
    assert message == goodbye_of(user)
    assert message.status == "sending"


def test_a_message_behind_many_that_are_cancelled_is_claimed() -> None:
    at = database_now()
    for _ in range(60):
        queue_for(active_user(), MessageType.WELCOME, scheduled_for=at - 50 * HOUR, created_at=at)
    due = queue_for(active_user(), MessageType.WELCOME, scheduled_for=at - HOUR, created_at=at)
    assert claim() == due
    assert EngagementMessage.objects.filter(status="cancelled", outcome_reason="too_old").count() == 60


@pytest.mark.parametrize("address", ["\t", "\u00a0", "\u200b", None])
def test_an_invisible_address_is_none(address: str | None) -> None:
    user = told_user()
    UserProfile.objects.filter(pk=user.user_id).update(whatsapp_jid=address)
    assert claim() is None
    assert goodbye_of(user).outcome_reason == "no_address"


def test_an_address_loses_the_white_space_around_it() -> None:
    user = told_user()
    UserProfile.objects.filter(pk=user.user_id).update(whatsapp_jid="\t551@s.whatsapp.net\u00a0\n")
    message = claim()
    assert message
    assert message.destination_jid == "551@s.whatsapp.net"


def test_parameters_that_are_a_list_fail_the_message() -> None:
    told_user()
    EngagementMessage.objects.update(message_params=[])
    assert claim() is None
    message = EngagementMessage.objects.get()
    assert (message.status, message.outcome_reason) == ("failed", "cannot_be_rendered")


def test_a_claim_is_of_no_former_lease() -> None:
    told_user()
    EngagementMessage.objects.update(lease_request_id=uuid4())
    message = claim()
    assert message
    assert message.lease_request_id is None


@pytest.mark.parametrize(
    ("sender", "lease"), [(None, "2 minutes"), ("", "2 minutes"), ("mine", None), ("mine", "0")]
)
def test_a_claim_without_a_sender_or_a_lease_is_an_error(sender: str | None, lease: str | None) -> None:
    told_user()
    with pytest.raises(DataError, match="a claim needs"), transaction.atomic():
        call("engagement_claim", sender, lease)
    assert EngagementMessage.objects.get().status == "pending"


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


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("sent", "sent"), ("failed", "failed"), ("not_sent", "pending"), ("unknown", "unknown")],
)
def test_the_outcome_of_a_claim_that_has_expired_may_come_late_and_once(outcome: str, status: str) -> None:
    told_user()
    message = claim()
    assert message
    mark_expired_claims(now=database_now() + HOUR)
    assert not call("engagement_report", message.id, uuid4(), "failed")
    assert report(message, outcome)
    assert EngagementMessage.objects.get().status == status
    assert not report(message, "failed")


def test_an_acceptance_clears_the_error_of_a_former_attempt_and_keeps_that_of_a_receipt() -> None:
    told_user()
    EngagementMessage.objects.update(error_code="131056", error_message="recipient_later (131056)")
    message = claim()
    assert message
    assert report(message, "sent")
    message.refresh_from_db()
    assert (message.error_code, message.error_message) == (None, None)
    EngagementMessage.objects.update(error_code="131049", outcome_reason="not_delivered")
    assert report(message, "sent", "wamid.A")
    message.refresh_from_db()
    assert (message.error_code, message.outcome_reason) == ("131049", "not_delivered")


@pytest.mark.parametrize("outcome", ["perhaps", None])
def test_an_unknown_outcome_word_is_an_error(outcome: Any) -> None:
    with pytest.raises(DataError, match="unknown outcome"), transaction.atomic():
        call("engagement_report", uuid4(), uuid4(), outcome)


@pytest.mark.parametrize("outcome", ["failed", "unknown", "not_sent"])
def test_an_outcome_after_the_erasure_changes_nothing(outcome: str) -> None:
    told_user()
    message = claim()
    assert message
    EngagementMessage.objects.update(
        idempotency_key="erased:1", status="unknown", outcome_reason="claim_expired"
    )
    before = EngagementMessage.objects.values().get()
    assert not report(message, outcome, None, "5511911110001 is not on WhatsApp")
    assert EngagementMessage.objects.values().get() == before


def test_a_message_without_a_profile_loses_its_address() -> None:
    message = queue_for(make_user(), MessageType.WELCOME, scheduled_for=database_now())
    EngagementMessage.objects.update(user_id=uuid4(), destination_jid="5511987654321@s.whatsapp.net")
    assert claim() is None
    message.refresh_from_db()
    assert (message.outcome_reason, message.destination_jid) == ("no_profile", "")


def test_what_belongs_to_an_erased_user_gets_no_id() -> None:
    message = queue_for(
        make_user(), MessageType.REPLY, status=MessageStatus.UNKNOWN, idempotency_key="erased:1"
    )
    call("engagement_report", message.id, UUID("01a00000-0000-7000-8000-000000000000"), "sent", "wamid.A")
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("sent", None)
