"""The goodbye of a wait: who may reply to it, what a timeout makes of it, and which may be retried."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from engagement.models import EngagementMessage, EngagementStateTransition, MessageStatus
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.message_queue import cancel_pending
from engagement.services.support import Retry, retry_message
from engagement.services.undo.undo_result import NotUndoneReason
from tests.factories import NOW, make_user
from tests.integration.operation.undoing import not_undone, undo
from tests.integration.services.users import hear, state_of
from tests.running import run_job
from tests.times import DAY, MINUTE, SECOND

if TYPE_CHECKING:
    from engagement.models import UserEngagementState

pytestmark = pytest.mark.django_db

TIMEOUT: Final = NOW + 2 * DAY + SECOND


def goodbyes() -> list[tuple[str, str]]:
    return sorted(EngagementMessage.objects.values_list("idempotency_key", "status"))


def set_goodbye(**fields: Any) -> None:
    EngagementMessage.objects.update(**fields)


def last_metadata() -> dict[str, Any]:
    metadata: dict[str, Any] = EngagementStateTransition.objects.latest("id").metadata
    return metadata


def run_id() -> UUID:
    return UUID(last_metadata()["job_id"])


@pytest.fixture
def user() -> UserEngagementState:
    """A user whose goodbye a run at NOW has queued."""
    user = make_user("silent", last_activity_at=NOW - 20 * DAY)
    run_job()
    return user


@pytest.fixture
def goodbye(user: UserEngagementState) -> EngagementMessage:
    return EngagementMessage.objects.get()


# Replies


@pytest.mark.parametrize(
    ("goodbye", "state"),
    [
        ({"status": "pending"}, "active"),
        ({"status": "pending", "retry_count": 1}, "active"),
        ({"status": "failed"}, "active"),
        ({"status": "cancelled"}, "active"),
        ({"status": "sending", "claimed_at": NOW + MINUTE}, "dormant"),
        ({"status": "unknown", "claimed_at": NOW + MINUTE}, "dormant"),
        ({"status": "sent", "sent_at": NOW + MINUTE}, "dormant"),
        ({"status": "sent", "sent_at": None}, "dormant"),
        ({"status": "sent", "sent_at": NOW, "failed_at": NOW + MINUTE}, "active"),
        ({"status": "sent", "sent_at": NOW, "failed_at": NOW, "delivered_at": NOW}, "dormant"),
        ({"status": "sent", "sent_at": NOW, "failed_at": NOW, "read_at": NOW}, "dormant"),
    ],
)
def test_reply_counts_if_the_goodbye_was_or_may_have_been_sent(
    user: UserEngagementState, goodbye: dict[str, Any], state: str
) -> None:
    set_goodbye(**goodbye)
    hear(user, "3", NOW + MINUTE)
    assert state_of(user) == state


@pytest.mark.parametrize(
    ("wrote_after", "state"),
    [(timedelta(0), "active"), (MINUTE - SECOND, "active"), (MINUTE, "dormant"), (2 * MINUTE, "dormant")],
)
def test_reply_counts_from_the_second_in_which_the_goodbye_was_sent(
    user: UserEngagementState, wrote_after: timedelta, state: str
) -> None:
    set_goodbye(status="sent", sent_at=NOW + MINUTE + timedelta(milliseconds=900))
    hear(user, "3", NOW + wrote_after, now=NOW + 5 * MINUTE)
    assert state_of(user) == state


def test_reply_counts_where_the_sender_deletes_what_it_sent(user: UserEngagementState) -> None:
    EngagementMessage.objects.all().delete()
    hear(user, "3", NOW + MINUTE)
    assert state_of(user) == "dormant"


def test_goodbye_of_another_wait_has_no_reply(user: UserEngagementState) -> None:
    """The goodbye of the present wait is still pending; the former one was sent."""
    set_goodbye(status="sent", sent_at=NOW)
    hear(user, "oi", NOW + MINUTE)
    run_job(now=NOW + 20 * DAY)
    hear(user, "3", NOW + 20 * DAY + MINUTE)
    assert state_of(user) == "active"


# Timeouts


@pytest.mark.parametrize(
    ("goodbye", "fate", "status"),
    [
        ({"status": "pending"}, "never_sent", "cancelled"),
        ({"status": "pending", "retry_count": 1}, "perhaps_sent", "cancelled"),
        ({"status": "cancelled"}, "never_sent", "cancelled"),
        ({"status": "cancelled", "retry_count": 1}, "perhaps_sent", "cancelled"),
        ({"status": "failed", "retry_count": 5}, "never_sent", "failed"),
        ({"status": "sending"}, "perhaps_sent", "sending"),
        ({"status": "unknown"}, "perhaps_sent", "unknown"),
        ({"status": "sent"}, "sent", "sent"),
        ({"status": "sent", "failed_at": NOW}, "never_sent", "sent"),
        ({"status": "sent", "failed_at": NOW, "delivered_at": NOW}, "sent", "sent"),
    ],
)
@pytest.mark.usefixtures("user")
def test_timeout_cancels_a_pending_goodbye_and_notes_whether_it_was_sent(
    goodbye: dict[str, Any], fate: str, status: str
) -> None:
    set_goodbye(**goodbye)
    assert run_job(now=TIMEOUT).checks["goodbye_timeout"].succeeded == 1
    message = EngagementMessage.objects.get()
    was_cancelled = goodbye["status"] == "pending"
    assert (last_metadata()["goodbye"], message.status) == (fate, status)
    assert message.outcome_reason == ("wait_over" if was_cancelled else None)
    assert last_metadata().get("cancelled_message_id") == (str(message.pk) if was_cancelled else None)


@pytest.mark.usefixtures("user")
def test_timeout_of_a_goodbye_that_the_sender_deleted_may_have_been_sent() -> None:
    EngagementMessage.objects.all().delete()
    run_job(now=TIMEOUT)
    assert last_metadata()["goodbye"] == "perhaps_sent"


@pytest.mark.usefixtures("user")
def test_undo_of_a_timeout_makes_the_goodbye_pending_again() -> None:
    before = EngagementMessage.objects.values().get()
    timeout = run_job(now=TIMEOUT)
    assert undo(timeout.job_id).counts.undone == 1
    assert EngagementMessage.objects.values().get() == before


@pytest.mark.usefixtures("user")
def test_timeout_is_not_undone_if_its_goodbye_has_changed_since() -> None:
    timeout = run_job(now=TIMEOUT)
    set_goodbye(status="sent")
    assert not_undone(undo(timeout.job_id)) == {"moved_on": 1}


# Nobody enters goodbye_sent without a goodbye


def test_goodbye_of_a_run_is_named_in_the_audit_log(goodbye: EngagementMessage) -> None:
    assert last_metadata()["goodbye_message_id"] == str(goodbye.pk)


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_user_whose_key_of_the_day_is_dead_stays_due(
    user: UserEngagementState, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A message of 14 days and an hour ago arrives late, and cancels the goodbye of the day."""
    hear(user, "oi", NOW - 14 * DAY - MINUTE, now=NOW + MINUTE)
    set_goodbye(status=status)
    before = goodbyes()
    dry, result = run_job(now=NOW + 2 * MINUTE, dry_run=True), run_job(now=NOW + 2 * MINUTE)
    for each in (dry, result):
        assert (each.status, each.processed, each.still_due) == ("succeeded", 0, 1)
    assert (state_of(user), goodbyes()) == ("active", before)
    assert "engagement_goodbye_key_taken" in caplog.text
    assert run_job(now=NOW + DAY).succeeded == 1
    assert goodbyes() == [*before, (goodbye_key(user.user_id, now=NOW + DAY), "pending")]


@pytest.mark.parametrize("status", ["pending", "sending", "unknown", "sent"])
def test_living_goodbye_of_the_day_is_that_of_the_wait(user: UserEngagementState, status: str) -> None:
    hear(user, "oi", NOW - 14 * DAY - MINUTE, now=NOW + MINUTE)
    set_goodbye(status=status)
    assert run_job(now=NOW + 2 * MINUTE).succeeded == 1
    (message,) = EngagementMessage.objects.all()
    assert last_metadata()["goodbye_message_id"] == str(message.pk)


def test_users_with_dead_keys_do_not_count_against_the_limit() -> None:
    dead, others = make_user("silent", last_activity_at=NOW - 90 * DAY), make_user("silent")
    EngagementMessage.objects.bulk_create(
        [_goodbye_of(dead, status=MessageStatus.CANCELLED, key=goodbye_key(dead.user_id, now=NOW))]
    )
    assert run_job(limit=1, batch_size=1).succeeded == 1
    assert (state_of(dead), state_of(others)) == ("active", "goodbye_sent")


def _goodbye_of(user: UserEngagementState, *, status: str, key: str) -> EngagementMessage:
    return EngagementMessage(
        user_id=user.user_id,
        message_type="goodbye",
        message_key="engagement.goodbye.self_select",
        destination="individual",
        destination_jid="551@s.whatsapp.net",
        idempotency_key=key,
        status=status,
    )


# Retries


def test_failed_goodbye_of_the_present_wait_can_be_retried(goodbye: EngagementMessage) -> None:
    set_goodbye(status="failed", retry_count=0)
    assert retry_message(message_id=goodbye.pk, now=NOW + MINUTE) is Retry.QUEUED
    goodbye.refresh_from_db()
    assert (goodbye.status, goodbye.retry_count) == ("pending", 1)


def test_failed_goodbye_of_a_former_wait_cannot_be_retried(
    user: UserEngagementState, goodbye: EngagementMessage
) -> None:
    set_goodbye(status="failed")
    hear(user, "oi", NOW + MINUTE)
    later = NOW + 20 * DAY
    run_job(now=later)
    EngagementMessage.objects.exclude(pk=goodbye.pk).update(status="sent", sent_at=later)
    assert retry_message(message_id=goodbye.pk, now=later + MINUTE) is Retry.OUTDATED
    assert [status for _, status in goodbyes()] == ["failed", "sent"]


def test_failed_goodbye_of_a_user_who_is_active_again_cannot_be_retried(
    user: UserEngagementState, goodbye: EngagementMessage
) -> None:
    set_goodbye(status="failed")
    hear(user, "oi", NOW + MINUTE)
    assert retry_message(message_id=goodbye.pk, now=NOW + 2 * MINUTE) is Retry.OUTDATED


# Undo


@pytest.mark.parametrize(
    ("goodbye", "reason"),
    [
        ({"status": "pending", "retry_count": 1}, NotUndoneReason.GOODBYE_FAILED),
        ({"status": "cancelled", "retry_count": 1}, NotUndoneReason.GOODBYE_FAILED),
        ({"status": "failed"}, NotUndoneReason.GOODBYE_FAILED),
        ({"status": "sending"}, NotUndoneReason.GOODBYE_IN_HAND),
        ({"status": "unknown"}, NotUndoneReason.GOODBYE_UNKNOWN),
        ({"status": "sent"}, NotUndoneReason.GOODBYE_SENT),
        ({"status": "pending", "sent_at": NOW}, NotUndoneReason.GOODBYE_SENT),
    ],
)
def test_undo_keeps_a_goodbye_that_a_sender_has_tried_and_its_key(
    user: UserEngagementState, goodbye: dict[str, Any], reason: NotUndoneReason
) -> None:
    set_goodbye(**goodbye)
    before = goodbyes()
    assert not_undone(undo(run_id())) == {reason.value: 1}
    assert (state_of(user), goodbyes()) == ("goodbye_sent", before)


def test_goodbye_that_was_retried_keeps_its_key(goodbye: EngagementMessage) -> None:
    set_goodbye(status="failed")
    retry_message(message_id=goodbye.pk, now=NOW + MINUTE)
    assert undo(run_id()).counts.undone == 0


def test_run_after_an_undone_run_whose_clock_was_ahead_can_be_undone(user: UserEngagementState) -> None:
    cancel_pending(user_id=user.user_id)
    undo(run_id(), now=NOW + MINUTE)
    ahead = run_job(now=NOW + 30 * DAY)
    assert undo(ahead.job_id, now=NOW + 2 * MINUTE).counts.undone == 1
    regular = run_job(now=NOW + 3 * MINUTE)
    assert undo(regular.job_id, now=NOW + 4 * MINUTE).counts.undone == 1
    assert state_of(user) == "active"
