"""Times and states in the words of the admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.html import strip_tags

from engagement.admin.labels import relative, state_text
from engagement.models import UserEngagementState
from engagement.states import State
from tests.factories import NOW


@pytest.mark.parametrize(
    ("length", "text"),
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
def test_period_has_its_largest_unit(length: timedelta, text: str) -> None:
    assert relative(NOW - length, now=NOW) == f"{text} ago"
    if length:
        assert relative(NOW + length, now=NOW) == f"in {text}"


@pytest.mark.parametrize(
    ("state", "columns", "text"),
    [
        (State.ACTIVE, {}, "last message 2 days ago"),
        (State.DORMANT, {}, "last message other than a reply 2 days ago"),
        (State.HELP_FLOW, {"remind_at": NOW}, "last message other than a reply 2 days ago"),
        (
            State.GOODBYE_SENT,
            {"goodbye_expires_at": NOW + timedelta(hours=43)},
            "times out 4 March 2026, 01:00 UTC",
        ),
        (State.GOODBYE_SENT, {"goodbye_expires_at": NOW}, "timed out 2 March 2026, 06:00 UTC"),
        (State.REMIND_LATER, {"remind_at": NOW + timedelta(days=10)}, "due 12 March 2026, 06:00 UTC"),
        (State.REMIND_LATER, {"remind_at": NOW}, "was due 2 March 2026, 06:00 UTC"),
    ],
)
def test_state_has_its_end_or_the_last_message(state: State, columns: dict[str, object], text: str) -> None:
    user_state = UserEngagementState(state=state, last_activity_at=NOW - timedelta(days=2), **columns)
    assert strip_tags(state_text(user_state, now=NOW)) == f"{state.label}, {text}"
