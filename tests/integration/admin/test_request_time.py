"""A request reads the clock once. The clock of these tests moves with every look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time

from engagement import schedule
from engagement.models import EngagementJobRun, UserProfile
from tests.factories import NOW, make_run, make_users
from tests.integration.admin.pages import list_url, text_of

if TYPE_CHECKING:
    from datetime import datetime, time

    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The times for which rows are shown."""
    times: list[datetime] = []

    def show(_row: Model, *, now: datetime) -> str:
        times.append(now)
        return "running"

    for function in ("people.user_list.state_text", "runs.run_list.status_of_run"):
        monkeypatch.setattr(f"engagement.admin.{function}", show)
    return times


@pytest.mark.parametrize(
    ("model", "query"), [(UserProfile, {"due": "inactivity_14d"}), (EngagementJobRun, {})]
)
def test_rows_and_filters_have_one_time(
    viewer: Client,
    model: type[Model],
    query: dict[str, str],
    times: list[datetime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_users(3, "silent")
    for _ in range(3):
        make_run()
    filtered: list[datetime] = []

    def first_run_from(instant: datetime, *, run_time: time) -> datetime:
        filtered.append(instant)
        return schedule.first_run_from(instant, run_time=run_time)

    monkeypatch.setattr("engagement.admin.filters.first_run_from", first_run_from)
    with freeze_time(NOW, auto_tick_seconds=1):
        text_of(viewer, list_url(model), **query)
    assert len(times) == 3
    assert len({*times, *filtered}) == 1
    assert bool(filtered) == bool(query)
