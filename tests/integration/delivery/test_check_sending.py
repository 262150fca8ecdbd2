"""`manage.py check_sending`: whether due messages leave in time and none needs a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import MessageStatus, MessageType
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.channels import pause_sending, slow_down
from tests.factories import queue_for
from tests.integration.delivery.sending import active_user, goodbye_of, send, told_user
from tests.running import run_command
from tests.times import HOUR, MINUTE

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def console(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"


def test_the_watch_is_content_when_nothing_waits() -> None:
    outcome = run_command("check_sending")
    assert (outcome.code, outcome.out) == (0, "No message is due.\n")


def test_the_watch_knows_when_the_last_message_left() -> None:
    told_user()
    send()
    assert run_command("check_sending").out.startswith("No message is due; the last was sent")


def test_the_watch_reports_a_message_that_waits_too_long() -> None:
    told_user(ago=2 * HOUR)
    outcome = run_command("check_sending")
    assert outcome.code == 1
    assert "The oldest due message is 2 hours late (maximum 30 minutes)." in outcome.err
    assert "is send_messages running?" in outcome.err
    assert run_command("check_sending", "--max-age", "3h").code == 0


def behind_a_pace(settings: Settings, *, sent: int) -> None:
    """Goodbyes that came due 40 minutes ago, of which some have left since, at most one a minute."""
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = str(1 / 60)
    now = database_now()
    for number in range(sent):
        at = now - number * MINUTE
        queue_for(active_user(), MessageType.WELCOME, status="sent", claimed_at=at, sent_at=at)
    queue_for(active_user(), MessageType.WELCOME, scheduled_for=now - 40 * MINUTE)


def test_a_message_that_waits_for_its_turn_at_the_pace_is_not_late(settings: Settings) -> None:
    behind_a_pace(settings, sent=25)
    outcome = run_command("check_sending")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("The oldest due message has waited 40 minutes; the last was sent ")


def test_a_message_is_late_if_fewer_leave_than_the_pace_allows(settings: Settings) -> None:
    behind_a_pace(settings, sent=5)
    assert "The oldest due message is 40 minutes late" in run_command("check_sending").err


def test_a_reply_does_not_wait_for_the_pace(settings: Settings) -> None:
    behind_a_pace(settings, sent=25)
    queue_for(active_user(), MessageType.REPLY, scheduled_for=database_now() - 35 * MINUTE)
    assert "The oldest due message is 35 minutes late" in run_command("check_sending").err


def test_the_watch_reports_more_goodbyes_than_can_be_sent_in_time(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = "1"
    for _ in range(3):
        told_user()
    outcome = run_command("check_sending")
    assert outcome.code == 1
    assert "3 goodbyes are queued, but only about 2 can be sent before their wait ends" in outcome.err


def test_a_message_that_waits_for_its_hours_is_not_late(settings: Settings) -> None:
    now = database_now()
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    begins, ends = now + 2 * HOUR, now + 3 * HOUR
    settings.ENGAGEMENT_SEND_HOURS = f"{begins:%H:%M}-{ends:%H:%M}"
    told_user(ago=2 * HOUR)
    assert run_command("send_messages", "--json").json["waiting"] == 1
    assert run_command("check_sending").code == 0


def test_the_watch_reports_pauses_and_doubts() -> None:
    stale, bounced = goodbye_of(told_user()), goodbye_of(told_user())
    now = database_now()
    pause_sending(backend="console", until=now + HOUR, reason="account error 368", now=now)
    stale.status, stale.claimed_at, stale.claim_expires_at = MessageStatus.SENDING, now - HOUR, now - MINUTE
    stale.save()
    bounced.status, bounced.claimed_at = MessageStatus.SENT, now - HOUR
    bounced.sent_at, bounced.failed_at = now - HOUR, now
    bounced.save()
    outcome = run_command("check_sending")
    assert outcome.code == 1
    for problem in (
        ": account error 368.",
        "1 message of the last 7 days with an unknown outcome: see resolve_message.",
        "1 claim expired: a sender died, and none has run since.",
        "1 message of the last day reported as not delivered.",
    ):
        assert problem in outcome.err


def test_a_long_wait_that_a_provider_asks_for_is_reported_and_ended() -> None:
    now = database_now()
    slow_down(backend="console", until=now + 3 * MINUTE, now=now)
    assert run_command("check_sending").code == 0
    slow_down(backend="console", until=now + HOUR, now=now)
    watched = run_command("check_sending")
    assert watched.code == 1
    assert ", as its provider has asked; resume_sending ends that." in watched.err
    resumed = run_command("resume_sending").out
    assert resumed.startswith("console would have waited until ")
    assert run_command("check_sending").code == 0


def test_the_watch_in_json() -> None:
    told_user(ago=2 * HOUR)
    outcome = run_command("check_sending", "--json")
    assert outcome.code == 1
    assert outcome.json.keys() == {
        *("good", "oldest_due_at", "max_age_seconds", "last_sent_at", "unknown", "stale", "not_delivered"),
        "unclaimable",
        *("paused_until", "pause_reason", "late_since", "hint", "pauses", "waits"),
    }
    assert (outcome.json["good"], outcome.json["max_age_seconds"]) == (False, 1800)


def test_a_message_that_waits_for_a_pause_is_not_late() -> None:
    told_user(ago=2 * HOUR)
    now = database_now()
    pause_sending(backend="console", until=now + HOUR, reason="review", now=now)
    outcome = run_command("check_sending")
    assert (outcome.code, "review" in outcome.err, "late" in outcome.err) == (1, True, False)
    assert run_command("check_sending", "--json").json["late_since"] is None
    pause_sending(backend="other", until=now + HOUR, reason="x", now=now)
    run_command("resume_sending")
    assert "late" in run_command("check_sending").err
