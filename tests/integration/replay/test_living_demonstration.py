"""A demonstration has deliveries, answers, manual actions and an undone run in it, the same each time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db.models import Count, F, Q
from django.utils import translation

from engagement.admin.admin_log import shown_sentence
from engagement.models import EngagementJobRun, EngagementMessage, EngagementStateTransition, UserProfile
from engagement.replay.demo import DAYS, TEAM, UNDONE_DAYS_AGO, play_demonstration
from engagement.replay.loading import user_id_of
from tests.integration.replay.logs import MIDNIGHT, Row, write_log
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

pytestmark = pytest.mark.django_db

LAST_RUN: Final = MIDNIGHT + 6 * HOUR
EARLY: Final = LAST_RUN + HOUR
"""Before the hours in which messages are sent, which begin at noon UTC."""
LATE: Final = LAST_RUN + 12 * HOUR
A_DAY: Final = 4
"""How many users become due on each day."""


def play(folder: Path, *, now: datetime) -> None:
    """Play a log whose last weeks have four goodbyes on each day."""
    rows = [
        Row(f"user {number}", LAST_RUN - (14 + number // A_DAY) * DAY - 7 * HOUR - number * HOUR / 60)
        for number in range(DAYS * A_DAY)
    ]
    play_demonstration(path=write_log(folder, rows), as_of=LAST_RUN, now=now)


def story() -> list[tuple[object, ...]]:
    """Everything that does not depend on the ids that rows get."""
    transitions = EngagementStateTransition.objects.values_list(
        "created_at", "user_id", "trigger", "to_state", "metadata__performed_by"
    )
    messages = EngagementMessage.objects.values_list(
        "scheduled_for", "user_id", "message_type", "status", "claimed_at", "read_at", "outcome_reason"
    )
    actions = LogEntry.objects.values_list("action_time", "object_id", "user__username")
    return sorted([*transitions, *messages, *actions], key=repr)


def statuses() -> Counter[str]:
    return Counter(EngagementMessage.objects.values_list("status", flat=True))


def test_demonstration_has_everything_in_it(tmp_path: Path) -> None:
    play(tmp_path, now=LATE)
    assert_messages_are_in_every_status()
    assert_users_answer_in_all_ways()
    assert_named_accounts_act_and_nobody_can_log_in_with_them()
    assert_one_run_is_undone_and_made_again()


def assert_messages_are_in_every_status() -> None:
    assert statuses().keys() == {"pending", "sent", "failed", "unknown", "cancelled"}
    sent = EngagementMessage.objects.filter(status="sent").aggregate(
        delivered=Count("delivered_at"), read=Count("read_at"), lost=Count("failed_at"), all=Count("pk")
    )
    assert 0 < sent["lost"] < sent["read"] < sent["delivered"] < sent["all"]
    assert EngagementMessage.objects.filter(message_type="reply", status="sent").exists()


def assert_users_answer_in_all_ways() -> None:
    triggers = Counter(EngagementStateTransition.objects.values_list("trigger", flat=True))
    assert {
        "goodbye_response_1",
        "goodbye_response_2",
        "goodbye_response_3",
        "user_message",
    } <= triggers.keys()
    assert {"goodbye_timeout", "reminder_due", "run_undone"} <= triggers.keys()
    assert UserProfile.objects.filter(reengagement_opt_out=True).exists()


def assert_named_accounts_act_and_nobody_can_log_in_with_them() -> None:
    assert {*LogEntry.objects.values_list("user__username", flat=True)} == {*TEAM}
    sentences = list(LogEntry.objects.values_list("change_message", flat=True))
    assert {sentence.split()[0] for sentence in sentences} == {"Cancelled", "Opted", "Resolved", "Retried"}
    with translation.override("pt-br"):
        assert [sentence for sentence in sentences if shown_sentence(sentence) == sentence] == []
    manual = EngagementStateTransition.objects.filter(metadata__performed_by__in=TEAM)
    assert manual.exists()
    accounts = get_user_model().objects.filter(username__in=TEAM)
    assert not any(
        account.is_active or account.is_staff or account.has_usable_password() for account in accounts
    )


def assert_one_run_is_undone_and_made_again() -> None:
    undone_at = LAST_RUN - UNDONE_DAYS_AGO * DAY
    runs = EngagementJobRun.objects.filter(now__gte=undone_at, now__lt=undone_at + DAY).order_by("now")
    assert [run.now for run in runs] == [undone_at, undone_at + HOUR]
    undone = EngagementStateTransition.objects.filter(trigger="run_undone")
    assert undone.count() == runs[0].succeeded == runs[1].succeeded > 0
    assert {*undone.values_list("metadata__undone_job_id", flat=True)} == {str(runs[0].job_id)}


@pytest.mark.parametrize(("now", "reason"), [(EARLY, "waiting_hours"), (LATE, "waiting_cap")])
def test_some_goodbyes_of_the_last_run_are_pending_and_nothing_lies_ahead(
    tmp_path: Path, now: datetime, reason: str
) -> None:
    play(tmp_path, now=now)
    waiting = EngagementMessage.objects.filter(status="pending")
    assert {(row.scheduled_for, row.outcome_reason) for row in waiting} == {(LAST_RUN, reason)}
    assert all(row.next_attempt_at and row.next_attempt_at > now for row in waiting)
    assert_nothing_lies_ahead(now)


def assert_nothing_lies_ahead(now: datetime) -> None:
    assert not EngagementStateTransition.objects.filter(created_at__gt=now).exists()
    assert not LogEntry.objects.filter(action_time__gt=now).exists()
    times = ("created_at", "claimed_at", "sent_at", "delivered_at", "read_at", "failed_at")
    ahead = Q(*[(f"{name}__gt", now) for name in times], _connector=Q.OR)
    assert not EngagementMessage.objects.filter(ahead).exists()
    assert not EngagementMessage.objects.filter(claimed_at__lt=F("scheduled_for")).exists()


def test_demonstration_is_the_same_each_time(tmp_path: Path) -> None:
    play(tmp_path, now=LATE)
    first = story()
    for model in (EngagementMessage, EngagementStateTransition, EngagementJobRun, UserProfile, LogEntry):
        model._default_manager.all().delete()
    play(tmp_path, now=LATE)
    assert story() == first
    assert user_id_of("user 0") in {*UserProfile.objects.values_list("user_id", flat=True)}
