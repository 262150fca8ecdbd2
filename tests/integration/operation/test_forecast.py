"""What coming runs would do: exactly what they do if nobody writes in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from engagement.schedule import coming_runs
from engagement.services.forecast import RunForecast, forecast
from tests.factories import NOW, TICK, make_user, make_users
from tests.integration.operation.random_users import (
    compared_with_the_job,
    instants,
    make_all,
    taken_back,
    users,
)
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.services.job.result import RunResult

pytestmark = pytest.mark.django_db

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


def moved(result: RunResult) -> RunForecast:
    """What a run did, in the words of a forecast."""
    checks = {name: tally.succeeded for name, tally in result.checks.items()}
    return RunForecast(result.now, checks, result.skipped)


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=8), now=instants)
def test_runs_do_what_was_forecast(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        make_all(rows)
        forecasts = forecast(now=now, days=8)
        assert forecasts[0] == moved(run_job(now=now, dry_run=True))
        assert forecasts == [moved(run_job(now=run_at)) for run_at in coming_runs(now, count=8)]


@pytest.mark.parametrize("hours", [1, 23, 24, 25, 47, 48])
def test_goodbyes_time_out_under_any_period_of_waiting(settings: Settings, hours: int) -> None:
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = hours
    make_users(3, "silent")
    make_users(2, last_activity_at=NOW - 20 * DAY)
    make_user()
    # Two runs so close together that after 47 hours the goodbyes of both end at the same run.
    now = NOW - 2 * HOUR
    forecasts = forecast(now=now, days=20)
    assert forecasts == [moved(run_job(now=run_at)) for run_at in coming_runs(now, count=20)]


def test_goodbye_of_today_times_out_at_the_first_run_after_48_hours() -> None:
    make_users(5, last_activity_at=NOW - 20 * DAY)

    def timeouts(now: datetime) -> dict[datetime, int]:
        return {run.now: run.checks["goodbye_timeout"] for run in forecast(now=now, days=6)}

    # A run at exactly 48 hours does not take them: the comparison is strict.
    assert [timeouts(now)[NOW + 2 * DAY] for now in (NOW - TICK, NOW, NOW + TICK)] == [5, 0, 0]
    assert [timeouts(now)[NOW + 3 * DAY] for now in (NOW - TICK, NOW, NOW + TICK)] == [0, 5, 5]


def test_skipped_users_count_at_every_run() -> None:
    make_user("silent", user__reengagement_opt_out=True)
    make_user(last_activity_at=NOW - 13 * DAY, user__whatsapp_jid="")
    assert [run.skipped.total for run in forecast(now=NOW, days=3)] == [1, 1, 2]


def test_nobody_is_forecast_as_nobody() -> None:
    assert [run.processed for run in forecast(now=NOW, days=2)] == [0, 0]


def test_any_number_of_days_costs_as_many_statements() -> None:
    make_users(20, "silent")
    counts = []
    for days in (1, 300):
        with CaptureQueriesContext(connection) as queries:
            forecast(now=NOW, days=days)
        counts.append(len(queries))
    # The savepoint and its release, the limits, the question itself.
    assert counts == [4, 4]


@pytest.mark.parametrize("days", [0, -1])
def test_no_day_is_refused(days: int) -> None:
    with pytest.raises(ValueError, match="days must be 1 or more"):
        forecast(now=NOW, days=days)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        forecast(now=NOW.replace(tzinfo=None), days=1)
