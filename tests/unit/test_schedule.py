"""Timestamps, and when the scheduler starts the daily run."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.schedule import DEFAULT_RUN_TIME, coming_runs, first_run_after, first_run_from, utc_timestamp
from tests.factories import NOW, TICK
from tests.times import DAY

instants = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11))]),
)


@pytest.mark.parametrize(
    ("instant", "after", "from_then_on"),
    [(NOW - TICK, NOW, NOW), (NOW, NOW + DAY, NOW), (NOW + TICK, NOW + DAY, NOW + DAY)],
)
def test_first_run_is_strictly_after_or_not_before(
    instant: datetime, after: datetime, from_then_on: datetime
) -> None:
    assert first_run_after(instant, run_time=DEFAULT_RUN_TIME) == after
    assert first_run_from(instant, run_time=DEFAULT_RUN_TIME) == from_then_on


@given(instant=instants, run_time=st.times(timezones=st.just(UTC)))
def test_first_run_is_at_the_run_time_within_a_day(instant: datetime, run_time: time) -> None:
    run_at = first_run_after(instant, run_time=run_time)
    assert timedelta(0) < run_at - instant <= DAY
    assert run_at.timetz() == run_time


def test_first_of_the_coming_runs_is_now() -> None:
    early = NOW - timedelta(hours=3)
    assert coming_runs(early, count=3, run_time=DEFAULT_RUN_TIME) == [early, NOW, NOW + DAY]
    assert coming_runs(NOW, count=2, run_time=DEFAULT_RUN_TIME) == [NOW, NOW + DAY]
    assert coming_runs(NOW, count=1, run_time=DEFAULT_RUN_TIME) == [NOW]


def test_time_of_fourteen_digits_is_refused_at_every_second_of_a_day() -> None:
    midnight = datetime(2026, 11, 10, tzinfo=UTC)
    for second in range(86_400):
        text = f"{midnight + timedelta(seconds=second):%Y%m%d%H%M%S}Z"
        with pytest.raises(ValueError, match="must be an ISO 8601 time"):
            utc_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-10T12345678Z",
        "20261110T12345678Z",
        "2026-11-10T120530.Z",
        "2026-11-10T12:0530Z",
        "2026-11-10T1205:30Z",
        "2026-11-10T12:05:30+05:30:15",
        "2026-11-10T12:05:30+05301500",
        "2026-11-10 12:05:30Z",
        "2026-11-10T12:05:30",
        "2026-11-10T12:05:30z",
        "2026-314T12:05:30Z",
    ],
)
def test_time_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be an ISO 8601 time"):
        utc_timestamp(text)
