"""The dashboard. Real requests."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils.html import strip_tags
from freezegun import freeze_time

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType
from engagement.services.state_machine import transition_state
from engagement.services.support import bring_back
from engagement.states import State, Trigger
from tests.factories import NOW, TICK, make_run, make_user, make_users, queue_for
from tests.integration.admin.pages import list_url, rows_of, text_of
from tests.integration.operation.undoing import LATER, undo
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from engagement.admin.dashboard.page import Tile

pytestmark = pytest.mark.django_db

DASHBOARD = "/admin/"
ALL = (
    "view_userengagementstate",
    "view_engagementstatetransition",
    "view_engagementmessage",
    "view_engagementjobrun",
)


def context(client: Client) -> dict[str, Any]:
    return client.get(DASHBOARD).context_data or {}


def assert_tiles_lead_to_their_rows(client: Client, tiles: list[Tile]) -> None:
    page = text_of(client, DASHBOARD)
    for tile in filter(lambda tile: tile.url, tiles):
        assert f'href="{tile.url}"' in page
        changelist = client.get(tile.url).context["cl"]
        assert (changelist.result_count, changelist.has_active_filters) == (tile.value, True), tile.label


def outcomes(client: Client) -> dict[str, int]:
    return {bar.label: bar.number for bar in context(client)["goodbyes"] if bar.number}


@pytest.mark.usefixtures("frozen")
def test_tiles_count_rows_and_lead_to_them(viewer: Client) -> None:
    make_users(4)
    make_users(3, "dormant")
    user = make_user("help_flow")
    queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(days=2))
    queue_for(user, MessageType.WELCOME)
    queue_for(user, MessageType.WELCOME, status="failed", scheduled_for=NOW - timedelta(days=9))
    shown = context(viewer)
    tiles = [*shown["states"], *shown["messages_waiting"]]
    counts = {State.ACTIVE: 4, State.HELP_FLOW: 1, State.DORMANT: 3}
    assert [(tile.label, tile.value, strip_tags(tile.note)) for tile in tiles] == [
        *((state.label, counts.get(state, 0), "") for state in State),
        ("pending", 2, "oldest since 28 February 2026, 06:00 UTC"),
        ("sent in 24 hours", 0, ""),
        ("outcome unknown", 0, ""),
        ("failed", 1, ""),
    ]
    assert_tiles_lead_to_their_rows(viewer, tiles)


@freeze_time(NOW - timedelta(hours=1))
def test_due_tiles_count_users_whom_the_next_run_would_move(viewer: Client) -> None:
    make_users(3, "silent")
    make_user("silent", last_activity_at=NOW - timedelta(days=15))
    make_user("silent", user__reengagement_opt_out=True)
    make_users(2, "goodbye_sent")
    make_user("remind_later")
    make_user()
    tiles = context(viewer)["due"]
    assert [(tile.label, tile.value, strip_tags(tile.note)) for tile in tiles] == [
        ("goodbyes due", 4, "1 now"),
        ("goodbyes without reply", 2, "0 now"),
        ("reminders due", 1, "0 now"),
    ]
    assert "Due at the next run, Mon 2 Mar, 06:00 UTC" in text_of(viewer, DASHBOARD)
    assert_tiles_lead_to_their_rows(viewer, tiles)


@pytest.mark.usefixtures("frozen")
def test_chart_stacks_the_transitions_of_each_day_by_trigger(viewer: Client) -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job(now=NOW - timedelta(days=1))
    run_job()
    shown = context(viewer)["chart"]
    chart = json.loads(shown.data)
    assert (len(chart["labels"]), chart["labels"][0], chart["labels"][-1]) == (30, "1 Feb", "2 Mar")
    assert [(bars["label"], bars["data"]) for bars in chart["datasets"]] == [
        (Trigger.INACTIVITY_14D.label, [0] * 29 + [2]),
        (Trigger.GOODBYE_TIMEOUT.label, [0] * 29 + [1]),
    ]
    axes = json.loads(shown.options)["scales"]
    assert axes["x"]["stacked"] is axes["y"]["stacked"] is True
    assert axes["x"]["ticks"]["maxRotation"] == 0
    rows = [(row.title, [number for number, _share in row.cells]) for row in shown.rows]
    assert rows == [("2 Mar", ["2", "1"])]
    assert len(rows_of(viewer, shown.rows[0].url)) == 3


@pytest.mark.usefixtures("frozen")
def test_charts_have_a_text_for_screen_readers(viewer: Client) -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job()
    page = text_of(viewer, DASHBOARD)
    summary = f"{Trigger.INACTIVITY_14D.label} 2, {Trigger.GOODBYE_TIMEOUT.label} 1"
    assert f'aria-label="Transitions per day by trigger, last 30 days: {summary}"' in page
    assert '<progress max="100" value="100" aria-label="no reply">' in page
    assert "<span><strong>1</strong> · 100%</span>" in page


@pytest.mark.usefixtures("frozen")
def test_chart_without_numbers_says_so(viewer: Client) -> None:
    page = text_of(viewer, DASHBOARD)
    assert page.count("No data yet") == 3
    assert "<canvas" not in page


@freeze_time(NOW)
def test_outcomes_are_compared_by_week(viewer: Client) -> None:
    for trigger in (Trigger.GOODBYE_RESPONSE_1, Trigger.GOODBYE_RESPONSE_3, Trigger.USER_MESSAGE):
        transition_state(user_id=make_user("goodbye_sent").user_id, trigger=trigger, now=NOW)
    make_user("goodbye_sent")
    run_job()
    earlier = make_user("goodbye_sent")
    transition_state(user_id=earlier.user_id, trigger=Trigger.USER_MESSAGE, now=NOW - timedelta(days=7))
    weeks = context(viewer)["weeks"]
    assert list(weeks.columns) == ["Ended", "Replied", "Came back", "No reply", "Never sent"]
    assert [row.title for row in weeks.rows] == [
        "24 Feb - 2 Mar",
        "17 Feb - 23 Feb",
        "10 Feb - 16 Feb",
        "3 Feb - 9 Feb",
    ]
    assert weeks.rows[0].cells == [("4", ""), ("2", "50%"), ("1", "25%"), ("1", "25%"), ("0", "0%")]
    assert weeks.rows[1].cells == [("1", ""), ("0", "0%"), ("1", "100%"), ("0", "0%"), ("0", "0%")]
    assert len(rows_of(viewer, weeks.rows[0].url)) == 4
    series = {bars["label"]: bars["data"] for bars in json.loads(weeks.data)["datasets"]}
    assert series["Came back"] == [0, 0, 100, 25]


@pytest.mark.usefixtures("frozen")
def test_goodbyes_are_counted_by_outcome(viewer: Client) -> None:
    for trigger in (Trigger.GOODBYE_RESPONSE_1, Trigger.USER_MESSAGE, Trigger.USER_MESSAGE):
        user = make_user("goodbye_sent")
        transition_state(user_id=user.user_id, trigger=trigger, now=NOW)
    dormant = make_user("dormant")
    transition_state(user_id=dormant.user_id, trigger=Trigger.USER_MESSAGE, now=NOW)
    make_user("goodbye_sent")
    run_job()
    shown = {bar.label: (bar.number, bar.percent) for bar in context(viewer)["goodbyes"]}
    assert shown == {"reply 1: confused": (1, 25), "another message": (2, 50), "no reply": (1, 25)}


@freeze_time(NOW + timedelta(days=3))
def test_goodbye_that_was_never_sent_is_an_outcome_of_its_own(viewer: Client) -> None:
    user = make_user("silent")
    run_job()
    job_id = run_job(now=NOW + timedelta(days=2, seconds=1)).job_id
    assert outcomes(viewer) == {"never sent": 1}
    page = text_of(viewer, f"/admin/engagement/userprofile/{user.user_id}/change/")
    assert "the goodbye was never sent" in page
    undo(job_id, now=NOW + timedelta(days=3))
    assert outcomes(viewer) == {}


@freeze_time(LATER)
def test_undone_timeout_is_not_an_outcome(viewer: Client) -> None:
    manual, _timed_out = make_users(2, "goodbye_sent")
    bring_back(user_id=manual.user_id, performed_by="grace", now=NOW)
    undo(run_job().job_id)
    assert outcomes(viewer) == {"marked as active by support": 1}
    run_job(now=LATER)
    assert outcomes(viewer) == {"marked as active by support": 1, "no reply": 1}


@freeze_time(LATER)
def test_goodbye_that_was_undone_has_not_ended(viewer: Client) -> None:
    manual, replied = make_users(2, "goodbye_sent")
    bring_back(user_id=manual.user_id, performed_by="grace", now=NOW)
    transition_state(user_id=replied.user_id, trigger=Trigger.GOODBYE_RESPONSE_2, now=NOW)
    make_users(3, "silent")
    undo(run_job().job_id)
    assert [bar.share for bar in context(viewer)["goodbyes"]] == ["50%", "50%"]
    week = context(viewer)["weeks"].rows[0]
    assert week.cells[0] == ("2", "")
    assert {row.user_id for row in rows_of(viewer, week.url)} == {manual.user_id, replied.user_id}


@freeze_time(LATER)
def test_week_with_undone_timeouts_has_no_list(viewer: Client) -> None:
    make_users(2, "goodbye_sent")
    bring_back(user_id=make_user("goodbye_sent").user_id, performed_by="grace", now=NOW)
    undo(run_job().job_id)
    week, earlier = context(viewer)["weeks"].rows[:2]
    assert (week.cells[0], week.url) == (("1", ""), "")
    assert f'<th scope="row">{week.title}</th>' in text_of(viewer, DASHBOARD)
    assert rows_of(viewer, earlier.url) == []


@freeze_time(LATER)
def test_undone_timeout_that_is_older_than_the_days_shown_counts_as_zero(viewer: Client) -> None:
    make_user("goodbye_sent")
    undo(run_job().job_id)
    EngagementStateTransition.objects.filter(trigger="goodbye_timeout").update(
        created_at=NOW - timedelta(days=40)
    )
    assert context(viewer)["goodbyes"] == []


@pytest.mark.usefixtures("frozen")
def test_runs_are_shown_with_status_and_counts(viewer: Client) -> None:
    make_run(succeeded=1_234, failed=56, skipped=7, started_at=NOW - timedelta(hours=3))
    make_run(status="running", started_at=NOW - timedelta(hours=1))
    page = text_of(viewer, DASHBOARD)
    columns = re.findall(r'<th class="engagement-count" role="columnheader">(\w+)</th>', page)
    assert columns == ["moved", "failed", "skipped"]
    counts = re.findall(r'<td class="engagement-count" role="cell">([\d,]+)</td>', page)[3:]
    assert dict(zip(columns, counts, strict=True)) == {"moved": "1,234", "failed": "56", "skipped": "7"}
    assert "3 hours ago" in page
    assert "vanished" in page
    assert ">Mon 2 Mar, 06:00 UTC</a>" in page


@pytest.mark.usefixtures("frozen")
def test_run_as_of_another_year_is_shown_with_it(viewer: Client) -> None:
    make_run(now=datetime(1998, 7, 1, 6, tzinfo=UTC))
    assert "Wed 1 Jul 1998, 06:00 UTC" in text_of(viewer, DASHBOARD)


@freeze_time(LATER)
def test_run_shows_how_many_transitions_were_undone(viewer: Client) -> None:
    make_users(2, "silent")
    run_job()
    make_users(3, "silent")
    undo(run_job(now=NOW + TICK).job_id)
    assert [(run.moved, run.undone) for run in context(viewer)["runs"]] == [(3, 3), (2, 0)]
    assert text_of(viewer, DASHBOARD).count("3 undone") == 1


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("days", "note"),
    [
        (-2, "oldest since 28 February 2026, 06:00 UTC"),
        (0, "oldest since 2 March 2026, 06:00 UTC"),
        (2, "first due in 2 days"),
    ],
)
def test_pending_messages_have_the_time_of_the_first_one(viewer: Client, days: int, note: str) -> None:
    for more in range(2):
        queue_for(make_user(), MessageType.WELCOME, scheduled_for=NOW + timedelta(days=days + more))
    assert note in text_of(viewer, DASHBOARD)


def test_empty_database_has_a_dashboard(viewer: Client) -> None:
    assert "No runs yet." in text_of(viewer, DASHBOARD)


@pytest.mark.parametrize("codenames", [(), *(ALL[:n] + ALL[n + 1 :] for n in range(len(ALL))), ALL])
def test_numbers_need_all_permissions(
    account_with: Callable[..., Client], codenames: tuple[str, ...]
) -> None:
    page = text_of(account_with(*codenames), DASHBOARD)
    assert ("Last runs" in page) == (codenames == ALL)
    assert (list_url(EngagementMessage) in page) == ("view_engagementmessage" in codenames)
