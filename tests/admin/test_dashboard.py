"""The front page answers an operator's questions in a handful of statements."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from freezegun import freeze_time

from engagement import dashboard_selectors
from engagement.dashboard_selectors import Backlog, MovesOfDay
from engagement.models import EngagementMessage, EngagementStateTransition, MessageType
from engagement.services.state_machine import transition_state
from engagement.states import CHECKS, Policy, State, Trigger
from tests.admin.many_rows import fill_tables
from tests.admin.pages import cost_of, list_url, text_of
from tests.factories import NOW, TICK, make_run, make_user, make_users, queue_for
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

pytestmark = pytest.mark.django_db

FRONT_PAGE = "/admin/"


@pytest.fixture
def frozen() -> Iterator[None]:
    with freeze_time(NOW):
        yield


def context(client: Client) -> dict[str, Any]:
    return client.get(FRONT_PAGE).context_data or {}


def test_users_are_counted_by_state_and_no_state_is_left_out() -> None:
    make_users(2)
    make_user("dormant")
    assert dashboard_selectors.users_by_state() == {
        State.ACTIVE: 2,
        State.GOODBYE_SENT: 0,
        State.HELP_FLOW: 0,
        State.REMIND_LATER: 0,
        State.DORMANT: 1,
    }


def test_due_is_whom_the_job_would_move_now_and_the_next_time() -> None:
    make_users(3, "silent")
    make_user("silent", user__reengagement_opt_out=True)
    make_users(2, "goodbye_sent")
    make_user("remind_later")
    an_hour_before = NOW - timedelta(hours=1)
    make_user("silent", last_activity_at=an_hour_before - timedelta(days=14, hours=1))
    due = dashboard_selectors.due_by_check(now=an_hour_before, policy=Policy())
    assert [due[check] for check in CHECKS] == [(1, 4), (0, 2), (0, 1)]
    assert run_job(now=an_hour_before).succeeded == 1
    assert run_job().succeeded == 6


def test_backlog_names_what_waits_longest_and_what_failed() -> None:
    user = make_user()
    assert dashboard_selectors.message_backlog() == Backlog(0, None, 0)
    queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(days=2))
    queue_for(user, MessageType.WELCOME)
    queue_for(user, MessageType.WELCOME, status="failed", scheduled_for=NOW - timedelta(days=9))
    queue_for(user, MessageType.WELCOME, status="sent", scheduled_for=NOW - timedelta(days=9))
    assert dashboard_selectors.message_backlog() == Backlog(2, NOW - timedelta(days=2), 1)


def test_moves_are_counted_by_day_trigger_and_former_state() -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job()
    assert sorted(dashboard_selectors.moves_by_day(now=NOW)) == [
        MovesOfDay(date(2026, 3, 2), "goodbye_timeout", "goodbye_sent", 1),
        MovesOfDay(date(2026, 3, 2), "inactivity_14d", "active", 2),
    ]


@pytest.mark.parametrize(("step", "counted"), [(-TICK, 0), (timedelta(0), 1), (TICK, 1)])
def test_thirty_days_begin_with_the_first_instant_of_the_first(step: timedelta, counted: int) -> None:
    make_user("silent")
    run_job()
    first = dashboard_selectors.first_instant(NOW)
    assert first.date() == NOW.date() - timedelta(days=29)
    EngagementStateTransition.objects.update(created_at=first + step)
    assert len(dashboard_selectors.moves_by_day(now=NOW)) == counted


def test_move_that_lies_ahead_is_not_counted() -> None:
    make_user("silent")
    run_job()
    assert dashboard_selectors.moves_by_day(now=NOW - TICK) == []


@pytest.mark.parametrize(("hours", "counted"), [(0, 1), (23, 1), (25, 0)])
def test_clock_that_made_an_id_may_differ_by_a_day_from_the_one_of_the_move(hours: int, counted: int) -> None:
    """So many hours the ids of a host lag behind the database, at the edge of the days shown."""
    make_user("silent")
    run_job()
    first = dashboard_selectors.first_instant(NOW)
    milliseconds = int((first - timedelta(hours=hours)).timestamp() * 1000)
    EngagementStateTransition.objects.update(id=UUID(int=milliseconds << 80 | 7 << 76), created_at=first)
    assert len(dashboard_selectors.moves_by_day(now=NOW)) == counted


@pytest.mark.usefixtures("frozen")
def test_tiles_tell_numbers_and_lead_to_the_rows_they_count(viewer: Client) -> None:
    make_users(4)
    make_users(3, "dormant")
    user = make_user("help_flow")
    queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(days=2))
    queue_for(user, MessageType.WELCOME)
    queue_for(user, MessageType.WELCOME, status="failed", scheduled_for=NOW - timedelta(days=9))
    shown = context(viewer)
    tiles = [*shown["states"], *shown["messages_waiting"]]
    assert [(tile.label, tile.value, tile.note) for tile in tiles] == [
        ("active", 4, ""),
        ("goodbye sent", 0, ""),
        ("in the help flow", 1, ""),
        ("to be reminded later", 0, ""),
        ("dormant", 3, ""),
        ("pending", 2, "the oldest was to be sent 2 days ago"),
        ("failed", 1, ""),
    ]
    page = text_of(viewer, FRONT_PAGE)
    for tile in tiles:
        assert f'href="{tile.url}"' in page
        assert viewer.get(tile.url).context["cl"].result_count == tile.value, tile.label
        assert viewer.get(tile.url).context["cl"].has_active_filters, tile.label


@freeze_time(NOW - timedelta(hours=1))
def test_due_tiles_tell_and_list_whom_the_next_run_would_move(viewer: Client) -> None:
    make_users(3, "silent")
    make_user("silent", last_activity_at=NOW - timedelta(days=15))
    make_user("silent", user__reengagement_opt_out=True)
    make_users(2, "goodbye_sent")
    make_user("remind_later")
    make_user()
    tiles = context(viewer)["due"]
    assert [(tile.label, tile.value, tile.note) for tile in tiles] == [
        ("inactivity_14d", 4, "14 days of silence; 1 due now"),
        ("goodbye_timeout", 2, "no reply to the goodbye; 0 due now"),
        ("reminder_due", 1, "the reminder came due; 0 due now"),
    ]
    page = text_of(viewer, FRONT_PAGE)
    assert "Due at the next run, Monday 06:00 UTC" in page
    for tile in tiles:
        assert f'href="{tile.url}"' in page
        assert viewer.get(tile.url).context["cl"].result_count == tile.value, tile.label


@pytest.mark.usefixtures("frozen")
def test_chart_stacks_the_moves_of_each_day_by_trigger(viewer: Client) -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job(now=NOW - timedelta(days=1))
    run_job()
    chart = json.loads(context(viewer)["chart"])
    assert (len(chart["labels"]), chart["labels"][0], chart["labels"][-1]) == (30, "1 Feb", "2 Mar")
    assert [(bars["label"], bars["data"]) for bars in chart["datasets"]] == [
        ("14 days of silence", [0] * 29 + [2]),
        ("no reply to the goodbye", [0] * 29 + [1]),
    ]
    axes = json.loads(context(viewer)["chart_options"])["scales"]
    assert axes["x"]["stacked"] is axes["y"]["stacked"] is True


@pytest.mark.usefixtures("frozen")
def test_pictures_have_words_for_those_who_do_not_see_them(viewer: Client) -> None:
    assert 'aria-label="Moves per day by trigger, last 30 days: none"' in text_of(viewer, FRONT_PAGE)
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job()
    page = text_of(viewer, FRONT_PAGE)
    in_words = "14 days of silence 2, no reply to the goodbye 1"
    assert f'aria-label="Moves per day by trigger, last 30 days: {in_words}"' in page
    assert '<progress max="100" value="100" aria-label="did not reply">' in page
    assert "<span><strong>1</strong> · 100 %</span>" in page


@pytest.mark.usefixtures("frozen")
def test_goodbyes_are_told_by_how_they_ended(viewer: Client) -> None:
    for trigger in (Trigger.GOODBYE_RESPONSE_1, Trigger.USER_MESSAGE, Trigger.USER_MESSAGE):
        user = make_user("goodbye_sent")
        transition_state(user_id=user.user_id, trigger=trigger, now=NOW)
    dormant = make_user("dormant")
    transition_state(user_id=dormant.user_id, trigger=Trigger.USER_MESSAGE, now=NOW)
    make_user("goodbye_sent")
    run_job()
    ends = {bar.label: (bar.number, bar.percent) for bar in context(viewer)["goodbyes"]}
    assert ends == {
        "replied 1: confused": (1, 25),
        "replied 2: busy": (0, 0),
        "replied 3: all good": (0, 0),
        "came back with another message": (2, 50),
        "did not reply": (1, 25),
    }


@pytest.mark.usefixtures("frozen")
def test_runs_are_shown_with_how_they_ended(viewer: Client) -> None:
    make_run(succeeded=1_234, failed=56, skipped=7, started_at=NOW - timedelta(hours=3))
    make_run(status="running", started_at=NOW - timedelta(hours=1))
    page = text_of(viewer, FRONT_PAGE)
    assert [*re.findall(r'<td class="engagement-count">([\d,]+)</td>', page)][3:] == ["1,234", "56", "7"]
    assert "3 hours ago" in page
    assert "vanished" in page


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("days", "note"),
    [
        (-2, "the oldest was to be sent 2 days ago"),
        (0, "the oldest was to be sent less than a minute ago"),
        (2, "the first is to be sent in 2 days"),
    ],
)
def test_pending_messages_are_told_by_the_one_that_is_sent_first(
    viewer: Client, days: int, note: str
) -> None:
    for more in range(2):
        queue_for(make_user(), MessageType.WELCOME, scheduled_for=NOW + timedelta(days=days + more))
    assert note in text_of(viewer, FRONT_PAGE)


def test_empty_database_is_shown(viewer: Client) -> None:
    assert "The job has not run yet." in text_of(viewer, FRONT_PAGE)


def test_page_costs_the_same_with_10_rows_and_with_10_000(viewer: Client) -> None:
    fill_tables(10)
    few = cost_of(viewer, FRONT_PAGE)
    fill_tables(9_990)
    assert cost_of(viewer, FRONT_PAGE) == few
    assert few <= 14


def test_numbers_are_for_those_who_may_see_users(client: Client) -> None:
    make_users(2)
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert "states" not in context(client)


@pytest.mark.parametrize("missing", ["userengagementstate", "engagementjobrun"])
def test_who_may_not_see_all_of_it_sees_no_numbers(client: Client, missing: str) -> None:
    make_user("dormant")
    person = User.objects.create_user("sees less", is_staff=True)
    permissions = Permission.objects.filter(
        content_type__app_label="engagement", codename__startswith="view_"
    )
    person.user_permissions.set(permissions.exclude(codename=f"view_{missing}"))
    client.force_login(person)
    page = text_of(client, FRONT_PAGE)
    assert "Last runs" not in page
    assert list_url(EngagementMessage) in page
    person.user_permissions.set(permissions)
    client.force_login(User.objects.get(pk=person.pk))
    assert "Last runs" in text_of(client, FRONT_PAGE)
