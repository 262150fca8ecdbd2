"""Old history goes in batches; what a rule still reads stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    InboundMessage,
    MessageStatus,
    MessageType,
    RunStatus,
)
from engagement.services.purge import purge_history
from engagement.services.resilience.stop import StopRequest
from tests.factories import make_run, make_user, queue_for
from tests.running import run_command
from tests.times import DAY

pytestmark = pytest.mark.django_db

YEAR: Final = timedelta(days=365)


def moved(user_id: UUID, ago: timedelta) -> EngagementStateTransition:
    return EngagementStateTransition.objects.create(
        user_id=user_id,
        from_state="goodbye_sent",
        to_state="dormant",
        trigger="goodbye_timeout",
        created_at=timezone.now() - ago,
    )


def queued(ago: timedelta, status: MessageStatus, *traits: str) -> EngagementMessage:
    at = timezone.now() - ago
    return queue_for(make_user(*traits), MessageType.GOODBYE, status=status, created_at=at, scheduled_for=at)


def purge(*options: str) -> dict[str, int]:
    outcome = run_command("purge_engagement_history", "--older-than", "2y", "--json", *options)
    assert outcome.code == 0
    rows: dict[str, int] = outcome.json["rows"]
    return {name.removeprefix("engagement_"): number for name, number in rows.items()}


def history() -> dict[str, int]:
    """Rows that go, and as many that stay."""
    one, two = make_user("dormant"), make_user("dormant")
    for ago in (5 * YEAR, 4 * YEAR, 3 * YEAR, YEAR):
        moved(one.user_id, ago)
    moved(two.user_id, 5 * YEAR)
    moved(two.user_id, 3 * YEAR)
    for status in MessageStatus:
        queued(3 * YEAR, status)
        queued(YEAR, status)
    queued(3 * YEAR, MessageStatus.SENT, "goodbye_sent")
    now = timezone.now()
    make_run(now=now - 3 * YEAR)
    make_run(now=now - 3 * YEAR, status=RunStatus.RUNNING)
    make_run(now=now - DAY)
    for ago in (9 * DAY, 7 * DAY):
        InboundMessage.objects.create(
            digest=str(uuid4()), user_id=one.user_id, received_at=now - ago, created_at=now - ago
        )
    old = now - 3 * YEAR
    for status in (MessageStatus.SENT, MessageStatus.PENDING):
        dated = {"created_at": old, "scheduled_for": old}
        welcome = queue_for(make_user(), MessageType.WELCOME, message_params={"name": "Ana"}, **dated)
        why = {"outcome_reason": "5511980000045 is not on WhatsApp", "error_code": "131026"}
        EngagementMessage.objects.filter(pk=welcome.pk).update(status=status, **why)
    # Queued long ago, retried and sent of late.
    queue_for(make_user(), MessageType.GOODBYE, status="sent", created_at=old, claimed_at=now - DAY)
    return {
        "state_transitions": 4,
        "message_queue": 3,
        "message_queue_emptied": 1,
        "job_runs": 1,
        "inbound_messages": 1,
    }


@pytest.mark.parametrize("batch_size", ["1", "3", "5000"])
def test_without_yes_it_is_only_counted(batch_size: str) -> None:
    expected = history()
    tables = (EngagementStateTransition, EngagementMessage, EngagementJobRun, InboundMessage)
    before = [table._default_manager.count() for table in tables]
    assert purge("--batch-size", batch_size) == expected
    assert [table._default_manager.count() for table in tables] == before


@pytest.mark.parametrize("batch_size", ["1", "5000"])
def test_with_yes_it_is_deleted_and_a_second_time_finds_nothing(batch_size: str) -> None:
    expected = history()
    assert purge("--yes", "--batch-size", batch_size) == expected
    assert purge("--yes") == dict.fromkeys(expected, 0)
    latest = EngagementStateTransition.objects.order_by("-created_at").values_list("created_at", flat=True)
    ages = [(timezone.now() - at) // YEAR for at in latest]
    assert ages == [1, 3]
    left = EngagementMessage.objects.filter(created_at__lt=timezone.now() - 2 * YEAR)
    goodbyes = left.filter(message_type=MessageType.GOODBYE).values_list("status", flat=True)
    assert sorted(goodbyes) == ["pending", "sending", "sent", "sent", "unknown"]
    emptied = left.get(message_type=MessageType.WELCOME, status=MessageStatus.SENT)
    assert (emptied.outcome_reason, emptied.error_code, emptied.error_message) == (None, "131026", None)
    assert (emptied.destination_jid, emptied.message_params) == ("", {})
    assert emptied.idempotency_key.startswith("key ")
    assert left.get(message_type=MessageType.WELCOME, status=MessageStatus.PENDING).message_params


class StopAfterOneBatch(StopRequest):
    """Is set when it is looked at for the second time."""

    looks = 0

    def is_set(self) -> bool:
        self.looks += 1
        return self.looks > 1


def test_a_stop_ends_it_between_two_batches() -> None:
    history()
    now = timezone.now()
    purged = purge_history(before=now - 2 * YEAR, now=now, batch_size=1, stop=StopAfterOneBatch())
    assert not purged.is_complete
    assert sum(purged.rows.values()) <= 1


def test_young_history_cannot_be_purged() -> None:
    now = timezone.now()
    with pytest.raises(ValueError, match="90 days"):
        purge_history(before=now - 89 * DAY, now=now)


@pytest.mark.parametrize("age", ["89d", "2", "y", "-1y", "2w", "1000y", "²y"])
def test_a_wrong_age_is_one_sentence(age: str) -> None:
    outcome = run_command("purge_engagement_history", f"--older-than={age}")
    assert outcome.code == 2
    assert "must be from 90d to 100y, such as 400d or 2y" in outcome.err


def test_the_report_names_the_tables() -> None:
    history()
    text = run_command("purge_engagement_history", "--older-than", "730d").out
    assert text.startswith("Would be deleted, from before ")
    assert "engagement_message_queue: 3 rows" in text
    assert text.endswith("Repeat the command with --yes.\n")
