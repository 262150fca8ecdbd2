"""Times and states in the words of the admin."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from engagement.admin.words import near, relative, state_in_words
from engagement.models import UserEngagementState
from tests.factories import NOW


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(0), "less than a minute"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=59, seconds=59), "59 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=47), "1 day"),
        (timedelta(days=364), "364 days"),
        (timedelta(days=365), "1 year"),
    ],
)
def test_period_is_told_in_its_largest_unit(length: timedelta, words: str) -> None:
    assert relative(NOW - length, now=NOW) == f"{words} ago"
    if length:
        assert relative(NOW + length, now=NOW) == f"in {words}"


def test_near_instant_has_the_name_of_its_day() -> None:
    assert near(NOW + timedelta(days=2), now=NOW) == "Wednesday 06:00 UTC"
    assert near(NOW - timedelta(days=5), now=NOW) == "Wednesday 06:00 UTC"
    assert near(NOW + timedelta(days=6), now=NOW) == "8 March 2026, 06:00 UTC"
    assert near(NOW - timedelta(days=6), now=NOW) == "24 February 2026, 06:00 UTC"


def test_words_are_in_utc_whatever_the_offset() -> None:
    there = datetime(2026, 3, 3, 1, tzinfo=timezone(timedelta(hours=2)))
    assert near(there, now=NOW) == "Monday 23:00 UTC"
    assert relative(None, now=NOW) == "at an unknown time"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"state": "active"}, "active, last heard of 2 days ago"),
        ({"state": "dormant"}, "dormant, last heard of 2 days ago"),
        ({"state": "help_flow"}, "getting help, last heard of 2 days ago"),
        (
            {
                "state": "goodbye_sent",
                "goodbye_sent_at": NOW - timedelta(hours=5),
                "goodbye_expires_at": NOW + timedelta(hours=43),
            },
            "goodbye sent 5 hours ago, ends Wednesday 01:00 UTC",
        ),
        (
            {
                "state": "goodbye_sent",
                "goodbye_sent_at": NOW - timedelta(hours=50),
                "goodbye_expires_at": NOW - timedelta(hours=2),
            },
            "goodbye sent 2 days ago, ended Monday 04:00 UTC",
        ),
        (
            {"state": "remind_later", "remind_at": NOW + timedelta(days=10)},
            "to be reminded later, which ends 12 March 2026, 06:00 UTC",
        ),
    ],
)
def test_state_is_told_in_words(columns: dict[str, object], words: str) -> None:
    user_state = UserEngagementState(last_activity_at=NOW - timedelta(days=2), **columns)
    assert state_in_words(user_state, now=NOW) == words
