"""`manage.py demo_delivery`: a goodbye from start to finish, in an empty database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import DataError, connection
from freezegun import freeze_time

from engagement.models import EngagementMessage, UserEngagementState
from tests.factories import make_user
from tests.heartbeat_server import healthy_service
from tests.running import PROJECT, run_command

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db(transaction=True)

SAMPLE = str(PROJECT / "data" / "cdnow_activity.csv.gz")


def test_the_page_tells_what_happened(settings: Settings) -> None:
    # A developer's sender does not keep the demonstration from sending.
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.001"
    settings.ENGAGEMENT_SEND_DAILY_CAP = "1"
    settings.ENGAGEMENT_SEND_TYPES = "reply"
    settings.ENGAGEMENT_SEND_ALLOW_ONLY = "5511987654321@s.whatsapp.net"
    # Neither do the rules and the safety limit of a project, and its monitor hears nothing.
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = "5"
    settings.ENGAGEMENT_INACTIVITY_DAYS = "1"
    settings.ENGAGEMENT_REMIND_AFTER_DAYS = "1"
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = "72"
    with healthy_service() as service:
        settings.ENGAGEMENT_HEARTBEAT_URL = service.url
        outcome = run_command("demo_delivery", SAMPLE, "--as-of", "1998-07-01T06:00:00Z")
    assert outcome.code == 0, outcome.err
    assert service.pings == []
    for sentence in (
        "14 goodbyes queued; 2 silent people skipped, who have opted out.",
        "12 sent, 1 failed, 1 unknown",
        'Writes "stop".',
        "Says nothing.",
        "WhatsApp refused the goodbye: the number cannot get it (131026).",
        "WhatsApp's receipt says that it arrived; now it counts as sent.",
        "Gets nothing: has opted out.",
        "4 people wrote nothing for 2 days and became dormant, silently: no message was queued.",
    ):
        assert sentence in outcome.out
    states = set(UserEngagementState.objects.values_list("state", flat=True))
    assert states == {"active", "help_flow", "remind_later", "dormant"}
    assert set(EngagementMessage.objects.values_list("status", flat=True)) == {"sent", "failed"}


@freeze_time("2026-11-30 23:30:00+00:00", tick=True)
def test_goodbyes_that_leave_in_the_morning_are_waited_for_as_long() -> None:
    outcome = run_command("demo_delivery", SAMPLE, "--as-of", "1998-07-01T06:00:00Z")
    assert "1 December 2026, 12:00 UTC: the sender" in outcome.out
    assert "4 people wrote nothing for 2 days and became dormant" in outcome.out


def test_failure_says_how_to_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: object) -> None:
        raise DataError("gone")

    monkeypatch.setattr("engagement.services.job.daily_job.mark_expired_claims", refuse)
    outcome = run_command("demo_delivery", SAMPLE)
    assert outcome.code == 1
    assert outcome.err.endswith(
        "to begin anew, empty the database, accounts too:"
        f" `DATABASE_NAME={connection.settings_dict['NAME']} manage.py flush`."
    )


def test_it_touches_no_database_that_is_in_use() -> None:
    make_user()
    outcome = run_command("demo_delivery", SAMPLE)
    assert outcome.code == 1
    assert "the database has users, messages or runs" in outcome.err
