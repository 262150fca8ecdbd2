"""When the scheduler starts the daily run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.schedule import coming_runs, first_run_after, first_run_from
from tests.factories import NOW, TICK

DAY = timedelta(days=1)
instants = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11))]),
)


@pytest.mark.parametrize(
    ("instant", "after", "from_then_on"),
    [(NOW - TICK, NOW, NOW), (NOW, NOW + DAY, NOW), (NOW + TICK, NOW + DAY, NOW + DAY)],
)
def test_first_run_lies_strictly_after_or_not_before(
    instant: datetime, after: datetime, from_then_on: datetime
) -> None:
    assert (first_run_after(instant), first_run_from(instant)) == (after, from_then_on)


@given(instants)
def test_first_run_is_at_six_utc_and_less_than_a_day_away_in_any_zone(instant: datetime) -> None:
    run_at = first_run_after(instant)
    assert timedelta(0) < run_at - instant <= DAY
    assert run_at.astimezone(UTC).timetz() == NOW.timetz()


def test_first_of_the_coming_runs_is_at_this_moment() -> None:
    early = NOW - timedelta(hours=3)
    assert coming_runs(early, count=3) == [early, NOW, NOW + DAY]
    assert coming_runs(NOW, count=2) == [NOW, NOW + DAY]
    assert coming_runs(NOW, count=1) == [NOW]


def test_calendar_ends() -> None:
    with pytest.raises(OverflowError):
        first_run_after(datetime.max.replace(tzinfo=UTC))
