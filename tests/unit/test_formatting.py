"""Counts, times, durations and next steps as text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.utils import translation

from engagement.formatting import (
    count_text,
    date_text,
    duration_text,
    next_step_sentence,
    short_moment_text,
)
from engagement.schedule import NextStep, NextStepKind
from engagement.states import CHECKS, SkipReason
from tests.factories import NOW

SILENCE, TIMEOUT, REMINDER = CHECKS
OPTED_OUT = (SkipReason.OPTED_OUT,)
BOTH = tuple(SkipReason)


def test_count_has_separators_and_a_plural() -> None:
    assert (count_text(1, "user"), count_text(2000, "user")) == ("1 user", "2,000 users")


def test_date_is_in_utc_whatever_the_offset() -> None:
    there = datetime(2026, 3, 3, 1, tzinfo=timezone(timedelta(hours=2)))
    assert date_text(there) == "2 March 2026, 23:00 UTC"
    assert date_text(None) == "an unknown date"


@pytest.mark.parametrize(
    ("language", "this_year", "another_year"),
    [
        ("en", "Mon 2 Mar, 06:00", "Mon 2 Mar 2026, 06:00"),
        ("pt-br", "seg 2 mar, 06:00", "seg 2 mar 2026, 06:00"),
    ],
)
def test_short_moment_has_its_year_in_another_year(language: str, this_year: str, another_year: str) -> None:
    with translation.override(language):
        assert short_moment_text(NOW, now=NOW.replace(month=12, day=31)) == this_year
        assert short_moment_text(NOW, now=NOW.replace(year=2027)) == another_year


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(milliseconds=484), "0.484 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=61, seconds=1), "1 hour, 1 minute, 1 second"),
        (timedelta(hours=26, seconds=30), "1 day, 2 hours, 30 seconds"),
        (timedelta(days=366, hours=2, minutes=3), "1 year, 1 day, 2 hours"),
    ],
)
def test_duration_has_its_three_largest_units(length: timedelta, text: str) -> None:
    assert duration_text(length) == text


def test_duration_can_be_limited_to_one_unit() -> None:
    assert duration_text(timedelta(hours=47), units=1) == "1 day"


@pytest.mark.parametrize(
    ("next_step", "sentence"),
    [
        (
            NextStep(NextStepKind.DUE, SILENCE, (), NOW),
            "Due now: the next run, on 2 March 2026, 06:00 UTC at the latest, sends a goodbye.",
        ),
        (
            NextStep(NextStepKind.DUE, TIMEOUT, (), NOW),
            "Due now: the next run, on 2 March 2026, 06:00 UTC at the latest, makes the user dormant.",
        ),
        (
            NextStep(NextStepKind.NOT_YET, SILENCE, (), NOW),
            "Next goodbye: 2 March 2026, 06:00 UTC at the earliest.",
        ),
        (
            NextStep(NextStepKind.NOT_YET, SILENCE, OPTED_OUT, NOW),
            (
                "Next goodbye: 2 March 2026, 06:00 UTC at the earliest."
                " None will be sent: the user has opted out."
            ),
        ),
        (
            NextStep(NextStepKind.NOT_YET, REMINDER, (), NOW),
            "Will become dormant on 2 March 2026, 06:00 UTC unless the user writes.",
        ),
        (
            NextStep(NextStepKind.SKIPPED, SILENCE, BOTH, NOW),
            "No goodbye will be sent: the user has opted out and has no WhatsApp address.",
        ),
        (
            NextStep(NextStepKind.NO_CHECK),
            "No next step: only a message from the user ends this state.",
        ),
        (NextStep(NextStepKind.NO_STATE), "No next step: the user has no state row."),
    ],
)
def test_next_step_is_one_sentence(next_step: NextStep, sentence: str) -> None:
    assert next_step_sentence(next_step) == sentence
