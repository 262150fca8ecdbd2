"""`manage.py demo_delivery`: a goodbye from start to finish, in an empty database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementMessage, UserEngagementState
from tests.factories import make_user
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
    outcome = run_command("demo_delivery", SAMPLE, "--as-of", "1998-07-01T06:00:00Z")
    assert outcome.code == 0, outcome.err
    for sentence in (
        "14 goodbyes queued; 2 silent people skipped, who have opted out.",
        "12 sent, 1 failed, 1 unknown",
        'Writes "stop".',
        "Says nothing.",
        "WhatsApp refused the goodbye: the number cannot get it (131026).",
        "WhatsApp's receipt says that it arrived; now it counts as sent.",
        "Gets nothing: has opted out.",
        "became dormant, silently: no message was queued.",
    ):
        assert sentence in outcome.out
    states = set(UserEngagementState.objects.values_list("state", flat=True))
    assert states == {"active", "help_flow", "remind_later", "dormant"}
    assert set(EngagementMessage.objects.values_list("status", flat=True)) == {"sent", "failed"}


def test_it_touches_no_database_that_is_in_use() -> None:
    make_user()
    outcome = run_command("demo_delivery", SAMPLE)
    assert outcome.code == 1
    assert "the database has users, messages or runs" in outcome.err
