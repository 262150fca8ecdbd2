"""A forecast equals what the runs do if no user writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import MessageType
from engagement.schedule import DEFAULT_RUN_TIME, coming_runs
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.forecast import RunForecast, forecast
from tests.factories import NOW, TICK, make_user, make_users, queue_for
from tests.integration.operation.random_users import (
    compared_with_the_job,
    instants,
    make_all,
    taken_back,
    users,
)
from tests.running import run_job
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_django.fixtures import Settings

    from engagement.services.job.result import RunResult

pytestmark = pytest.mark.django_db


def moved(result: RunResult) -> RunForecast:
    """The result of a run as a forecast."""
    checks = {name: tally.succeeded for name, tally in result.checks.items()}
    return RunForecast(result.now, checks, result.skipped)


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=8), now=instants)
def test_forecast_equals_the_results_of_the_runs(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        make_all(rows)
        forecasts = forecast(now=now, days=8)
        assert forecasts[0] == moved(run_job(now=now, dry_run=True))
        assert forecasts == [
            moved(run_job(now=run_at)) for run_at in coming_runs(now, count=8, run_time=DEFAULT_RUN_TIME)
        ]


@pytest.mark.parametrize("hours", [1, 23, 24, 25, 47, 48])
def test_forecast_uses_the_period_for_a_reply(settings: Settings, hours: int) -> None:
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = hours
    make_users(3, "silent")
    make_users(2, last_activity_at=NOW - 20 * DAY)
    make_user()
    # Two runs so close together that the goodbyes of both end at the same run after 47 hours.
    now = NOW - 2 * HOUR
    forecasts = forecast(now=now, days=20)
    assert forecasts == [
        moved(run_job(now=run_at)) for run_at in coming_runs(now, count=20, run_time=DEFAULT_RUN_TIME)
    ]


def test_goodbye_of_today_times_out_at_the_first_run_after_48_hours() -> None:
    make_users(5, last_activity_at=NOW - 20 * DAY)

    def timeouts(now: datetime) -> dict[datetime, int]:
        return {run.now: run.checks["goodbye_timeout"] for run in forecast(now=now, days=6)}

    # After exactly 48 hours a goodbye has not timed out: the comparison is strict.
    assert [timeouts(now)[NOW + 2 * DAY] for now in (NOW - TICK, NOW, NOW + TICK)] == [5, 0, 0]
    assert [timeouts(now)[NOW + 3 * DAY] for now in (NOW - TICK, NOW, NOW + TICK)] == [0, 5, 5]


def test_skipped_users_are_counted_by_every_run() -> None:
    make_user("silent", user__reengagement_opt_out=True)
    make_user(last_activity_at=NOW - 13 * DAY, user__whatsapp_jid="")
    assert [run.skipped.total for run in forecast(now=NOW, days=3)] == [1, 1, 2]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_user_whose_key_of_today_is_taken_is_moved_tomorrow(status: str) -> None:
    user, _ = make_users(2, last_activity_at=NOW - 20 * DAY)
    queue_for(user, MessageType.GOODBYE, status=status, idempotency_key=goodbye_key(user.user_id, now=NOW))
    early = NOW - HOUR
    forecasts = forecast(now=early, days=5)
    assert [run.checks["inactivity_14d"] for run in forecasts] == [1, 0, 1, 0, 0]
    assert forecasts == [
        moved(run_job(now=run_at)) for run_at in coming_runs(early, count=5, run_time=DEFAULT_RUN_TIME)
    ]


def test_skipped_user_whose_key_of_today_is_taken_is_skipped_today_too() -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    queue_for(
        user, MessageType.GOODBYE, status="cancelled", idempotency_key=goodbye_key(user.user_id, now=NOW)
    )
    (today,) = forecast(now=NOW, days=1)
    assert today == moved(run_job(now=NOW, dry_run=True))
    assert today.skipped.total == 1


def test_forecast_without_users_is_zero() -> None:
    assert [run.processed for run in forecast(now=NOW, days=2)] == [0, 0]


def test_number_of_statements_is_the_same_for_any_number_of_days() -> None:
    make_users(20, "silent")
    counts = []
    for days in (1, 300):
        with CaptureQueriesContext(connection) as queries:
            forecast(now=NOW, days=days)
        counts.append(len(queries))
    # The savepoint and its release, the time limits, the count.
    assert counts == [4, 4]


@pytest.mark.parametrize("days", [0, -1])
def test_less_than_one_day_is_refused(days: int) -> None:
    with pytest.raises(ValueError, match="days must be 1 or more"):
        forecast(now=NOW, days=days)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        forecast(now=NOW.replace(tzinfo=None), days=1)
