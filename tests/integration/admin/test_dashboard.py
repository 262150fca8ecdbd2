"""The front page answers an operator's questions in a handful of statements."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from freezegun import freeze_time

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType
from engagement.services.state_machine import transition_state
from engagement.services.support import bring_back
from engagement.states import Trigger
from tests.factories import NOW, TICK, make_run, make_user, make_users, queue_for
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import cost_of, list_url, text_of
from tests.integration.operation.undoing import LATER, undo
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
        ("waiting for reply", 0, ""),
        ("getting help", 1, ""),
        ("reminder set", 0, ""),
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
        ("inactivity_14d", 4, "inactivity; 1 due now"),
        ("goodbye_timeout", 2, "no reply to the goodbye; 0 due now"),
        ("reminder_due", 1, "reminder due; 0 due now"),
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
        ("inactivity", [0] * 29 + [2]),
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
    in_words = "inactivity 2, no reply to the goodbye 1"
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
        "brought back by hand": (0, 0),
        "did not reply": (1, 25),
    }


@freeze_time(LATER)
def test_goodbye_that_did_not_end_after_all_is_not_told(viewer: Client) -> None:
    manual, _timed_out = make_users(2, "goodbye_sent")
    bring_back(user_id=manual.user_id, performed_by="grace", now=NOW)
    undo(run_job().job_id)
    ends = {bar.label: bar.number for bar in context(viewer)["goodbyes"] if bar.number}
    assert ends == {"brought back by hand": 1}
    run_job(now=LATER)
    ends = {bar.label: bar.number for bar in context(viewer)["goodbyes"] if bar.number}
    assert ends == {"brought back by hand": 1, "did not reply": 1}


@freeze_time(LATER)
def test_end_of_a_goodbye_that_is_undone_later_than_the_days_shown_counts_for_nothing(viewer: Client) -> None:
    make_user("goodbye_sent")
    undo(run_job().job_id)
    EngagementStateTransition.objects.filter(trigger="goodbye_timeout").update(
        created_at=NOW - timedelta(days=40)
    )
    assert not any(bar.number or bar.percent for bar in context(viewer)["goodbyes"])


@pytest.mark.usefixtures("frozen")
def test_runs_are_shown_with_how_they_ended(viewer: Client) -> None:
    make_run(succeeded=1_234, failed=56, skipped=7, started_at=NOW - timedelta(hours=3))
    make_run(status="running", started_at=NOW - timedelta(hours=1))
    page = text_of(viewer, FRONT_PAGE)
    assert [*re.findall(r'<td class="engagement-count">([\d,]+)</td>', page)][3:] == ["56", "1,234", "7"]
    assert "3 hours ago" in page
    assert "vanished" in page


def test_run_for_another_day_says_so(viewer: Client) -> None:
    run_job()
    assert ">Mon 2 Mar, 06:00</a>" in text_of(viewer, FRONT_PAGE)


@freeze_time(LATER)
def test_run_that_was_undone_says_how_much_of_it(viewer: Client) -> None:
    make_users(2, "silent")
    run_job()
    make_users(3, "silent")
    undo(run_job(now=NOW + TICK).job_id)
    assert [(run.moved, run.undone) for run in context(viewer)["runs"]] == [(3, 3), (2, 0)]
    assert text_of(viewer, FRONT_PAGE).count("3 undone") == 1


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
