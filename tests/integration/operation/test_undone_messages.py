"""A run is taken back: what becomes of its messages, and of the users whom they reached."""

from __future__ import annotations

from typing import Any

import pytest

from engagement.models import EngagementMessage
from tests.database import all_rows
from tests.factories import make_user
from tests.integration.operation.undoing import LATER, not_undone, stored, undo
from tests.running import run_job

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"status": "sent", "sent_at": LATER}, "goodbye_sent"),
        ({"status": "sent"}, "goodbye_sent"),
        ({"sent_at": LATER}, "goodbye_sent"),
        ({"status": "failed", "retry_count": 3}, "goodbye_failed"),
    ],
)
def test_user_whom_the_sender_may_have_told_goodbye_is_left_alone(
    message: dict[str, Any], reason: str
) -> None:
    make_user("silent")
    job_id = run_job().job_id
    EngagementMessage.objects.update(**message)
    before = all_rows()
    result = undo(job_id)
    assert (result.counts.undone, result.counts.messages_cancelled, not_undone(result)) == (0, 0, {reason: 1})
    assert all_rows() == before


def test_user_whose_goodbye_the_operator_has_cancelled_already_goes_back() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    EngagementMessage.objects.update(status="cancelled")
    result = undo(job_id)
    assert (result.counts.undone, result.counts.messages_cancelled) == (1, 0)
    assert stored(user).state == "active"
    run_job()
    assert EngagementMessage.objects.filter(status="pending").count() == 1


def test_message_that_an_undo_cancels_says_so() -> None:
    make_user("silent")
    job_id = run_job().job_id
    EngagementMessage.objects.update(outcome_reason="waiting_hours")
    undo(job_id)
    assert EngagementMessage.objects.get().outcome_reason == "run_undone"


def test_user_whose_goodbye_was_deleted_does_not_go_back() -> None:
    """A sender may delete what it has sent. A second goodbye would follow."""
    make_user("silent")
    job_id = run_job().job_id
    EngagementMessage.objects.all().delete()
    result = undo(job_id)
    assert (result.counts.undone, not_undone(result)) == (0, {"goodbye_unknown": 1})


def test_messages_of_others_and_of_other_days_are_left_alone() -> None:
    user, other = make_user("silent"), make_user("silent")
    job_id = run_job(limit=1).job_id
    undone, _ = sorted((user, other), key=lambda one: one.user_id)
    run_job()
    EngagementMessage.objects.create(
        user_id=undone.user_id,
        message_type="reminder",
        message_key="k",
        destination="individual",
        destination_jid="j",
        idempotency_key=f"{undone.user_id}:goodbye_sent:2026-01-01",
    )
    undo(job_id)
    assert sorted(EngagementMessage.objects.values_list("status", "message_type")) == [
        ("cancelled", "goodbye"),
        ("pending", "goodbye"),
        ("pending", "reminder"),
    ]


def test_whoever_is_due_again_on_the_same_day_gets_a_goodbye_that_can_be_sent() -> None:
    user = make_user("silent")
    for _ in range(3):
        undo(run_job().job_id)
    run_job()
    assert stored(user).state == "goodbye_sent"
    pending = EngagementMessage.objects.get(status="pending")
    assert pending.idempotency_key == f"{user.user_id}:goodbye_sent:2026-03-02"
    cancelled = EngagementMessage.objects.filter(status="cancelled")
    assert {message.idempotency_key for message in cancelled} == {
        f"{pending.idempotency_key}:undone:{message.id}" for message in cancelled
    }
    assert cancelled.count() == 3
