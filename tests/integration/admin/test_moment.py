"""One request is answered as of one moment. Real requests, and a clock that goes on at every look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time

from engagement import schedule
from engagement.models import EngagementJobRun, UserEngagementState
from tests.factories import NOW, make_user
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import list_url, text_of

if TYPE_CHECKING:
    from datetime import datetime, time

    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("model", "teller"),
    [
        (UserEngagementState, "engagement.admin.lists.state_in_words"),
        (EngagementJobRun, "engagement.admin.runs.status_of_run"),
    ],
)
def test_all_rows_of_a_list_are_told_as_of_one_moment(
    viewer: Client, model: type[Model], teller: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_tables(3)
    moments: list[datetime] = []

    def tell(_row: Model, *, now: datetime) -> str:
        moments.append(now)
        return "running"

    monkeypatch.setattr(teller, tell)
    with freeze_time(NOW, auto_tick_seconds=1):
        text_of(viewer, list_url(model))
    assert (len(moments), len(set(moments))) == (3, 1)


def test_who_is_due_is_asked_as_of_the_moment_of_which_the_page_tells(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("silent")
    asked: list[datetime] = []
    told: list[datetime] = []

    def first_run_from(moment: datetime, *, run_time: time) -> datetime:
        asked.append(moment)
        return schedule.first_run_from(moment, run_time=run_time)

    def tell(_row: Model, *, now: datetime) -> str:
        told.append(now)
        return "silent"

    monkeypatch.setattr("engagement.admin.filters.first_run_from", first_run_from)
    monkeypatch.setattr("engagement.admin.lists.state_in_words", tell)
    with freeze_time(NOW, auto_tick_seconds=1):
        text_of(viewer, list_url(UserEngagementState), due="inactivity_14d")
    assert set(asked) == set(told)
    assert len(told) == 1
