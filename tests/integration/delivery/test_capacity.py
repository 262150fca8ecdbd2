"""A run and a sender say when more goodbyes are queued than can be sent before their wait ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementMessage, UserEngagementState
from engagement.selectors.deliveries import database_now
from tests.factories import make_users
from tests.running import run_command
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db(transaction=True)

HINT = "5 goodbyes are queued, but only about 4 can be sent before their wait ends"


@pytest.fixture(autouse=True)
def capped(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"
    settings.ENGAGEMENT_SEND_DAILY_CAP = "2"


def run() -> str:
    make_users(5, "silent", last_activity_at=database_now() - 20 * DAY)
    return run_command("run_engagement_daily", "--json").err


def test_run_says_so_on_stderr() -> None:
    assert HINT in run()


def test_sender_says_so_in_its_report() -> None:
    run()
    assert HINT in run_command("send_messages", "--dry-run").out
    assert run_command("send_messages", "--dry-run", "--json").json["hint"].startswith(HINT)


def test_nothing_is_said_when_all_can_be_sent(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = "3"
    assert "can be sent" not in run()


def test_run_says_nothing_where_another_program_sends(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = ""
    assert "can be sent" not in run()


def test_run_says_so_without_the_secrets_of_the_sender(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
    assert HINT in run()


def test_hours_that_do_not_open_before_the_wait_is_over_let_nothing_through(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = ""
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = 2
    opens = database_now().astimezone(UTC) + 5 * HOUR
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{opens:%H:%M}-{opens + HOUR:%H:%M}"
    assert "5 goodbyes are queued, but only about 0 can be sent before their wait ends" in run()


def test_what_is_left_of_the_wait_counts(settings: Settings) -> None:
    run()
    EngagementMessage.objects.update(scheduled_for=database_now() - 47 * HOUR)
    UserEngagementState.objects.update(goodbye_expires_at=database_now() + HOUR)
    assert "only about 2 can be sent" in run_command("send_messages", "--dry-run").out
    # The one that leaves has taken one of the cap's places.
    assert "4 goodbyes are queued, but only about 1" in run_command("send_messages", "--limit", "1").out


def test_those_whose_wait_ends_soon_are_not_outweighed_by_later_ones() -> None:
    run()
    UserEngagementState.objects.update(goodbye_expires_at=database_now() + HOUR)
    make_users(1, "silent", last_activity_at=database_now() - 20 * DAY)
    said = run_command("run_engagement_daily", "--json").err
    assert "6 goodbyes are queued, but of the 5 whose wait ends by" in said
    assert "only about 2 can be sent before their wait ends" in said


def test_what_the_cap_has_let_through_counts_until_it_is_a_day_old(settings: Settings) -> None:
    """Two leave now, two in a day, and then the wait is over."""
    settings.ENGAGEMENT_SEND_DAILY_CAP = "2"
    run()
    run_command("send_messages")
    assert "3 goodbyes are queued, but only about 2 can be sent" in run_command("send_messages").out


def test_a_sender_that_leaves_goodbyes_to_others_says_nothing(settings: Settings) -> None:
    run()
    settings.ENGAGEMENT_SEND_TYPES = "reply"
    assert "can be sent" not in run_command("send_messages", "--dry-run").out


def test_a_message_of_a_far_year_costs_no_time() -> None:
    run()
    EngagementMessage.objects.update(scheduled_for=datetime(2999, 12, 31, tzinfo=UTC))
    UserEngagementState.objects.update(goodbye_expires_at=datetime(2999, 12, 31, tzinfo=UTC))
    assert HINT in run_command("send_messages", "--dry-run").out


def test_wrong_backend_does_not_spoil_a_run(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.nowhere"
    assert "nowhere" not in run()


def test_hours_are_those_of_the_default_time_zone(settings: Settings) -> None:
    """Closed where the users are, open in UTC."""
    settings.ENGAGEMENT_SEND_DAILY_CAP = ""
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = 1
    settings.ENGAGEMENT_SEND_TIME_ZONE = "Asia/Tokyo"
    now = database_now().astimezone(UTC)
    settings.ENGAGEMENT_SEND_HOURS = f"{now - HOUR:%H:%M}-{now + 3 * HOUR:%H:%M}"
    assert "5 goodbyes are queued, but only about 0" in run()
