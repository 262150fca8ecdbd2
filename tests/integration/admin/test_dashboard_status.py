"""The dashboard says first whether all is well, and what to do if not. Real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils.html import strip_tags
from freezegun import freeze_time

from engagement.models import EngagementJobRun, MessageType, SendingChannel
from tests.factories import NOW, make_run, make_user, queue_for
from tests.integration.admin.pages import rows_of, text_of
from tests.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client
    from pytest_django.fixtures import Settings

    from engagement.admin.dashboard.status import Problem, Status

pytestmark = pytest.mark.django_db

DASHBOARD = "/admin/"


@pytest.fixture(autouse=True)
def good_run() -> Iterator[EngagementJobRun]:
    """A run that ended well an hour ago; each test then breaks one thing."""
    run = make_run(now=NOW - HOUR, succeeded=7)
    with freeze_time(NOW):
        yield run


def status_of(client: Client) -> Status:
    context: dict[str, Any] = client.get(DASHBOARD).context_data or {}
    shown: Status = context["status"]
    return shown


def the_problem(client: Client) -> Problem:
    (problem,) = status_of(client).problems
    page = text_of(client, DASHBOARD)
    assert strip_tags(problem.text) in page
    assert problem.next_step in page
    assert problem.command in page
    assert ("Urgent" in page, "Check" in page.replace("Check cron", "")) == (
        problem.is_urgent,
        not problem.is_urgent,
    )
    assert "1 thing needs attention" in page
    assert "All is well" not in page
    return problem


def test_all_is_well_in_one_line_with_the_last_and_the_next_run(viewer: Client) -> None:
    status = status_of(viewer)
    assert (status.level, status.title) == ("success", "All is well.")
    assert status.last_run == "1 hour ago, 7 moved, 0 failed"
    assert strip_tags(status.next_run) == "Mon 2 Mar, 06:00 UTC"
    assert f'href="{status.last_run_url}"' in text_of(viewer, DASHBOARD)


def test_overdue_run_is_urgent(viewer: Client) -> None:
    EngagementJobRun.objects.update(now=NOW - 27 * HOUR, started_at=NOW - 27 * HOUR)
    problem = the_problem(viewer)
    assert problem.text == "The daily run is overdue: the last good one was 1 day, 3 hours ago."
    assert (problem.is_urgent, problem.command) == (True, "manage.py run_engagement_daily")


def test_run_that_is_running_is_not_overdue(viewer: Client) -> None:
    EngagementJobRun.objects.update(now=NOW - 27 * HOUR, started_at=NOW - 27 * HOUR)
    make_run(status="running", started_at=NOW, last_seen_at=NOW)
    assert status_of(viewer).problems == []


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("failed", "The last run failed."),
        ("interrupted", "The last run was interrupted."),
        ("running", "The last run has stopped without an end: its process is gone."),
    ],
)
def test_last_run_that_did_not_succeed_is_urgent(viewer: Client, status: str, text: str) -> None:
    ago = timedelta(minutes=30)
    run = make_run(status=status, started_at=NOW - ago, last_seen_at=NOW - ago)
    problem = the_problem(viewer)
    assert (problem.text, problem.is_urgent) == (text, True)
    assert str(run.pk) in problem.url


def test_users_who_failed_in_the_last_run_are_notable(viewer: Client) -> None:
    make_run(status="partial", succeeded=3, failed=2, started_at=NOW)
    problem = the_problem(viewer)
    assert (problem.text, problem.is_urgent) == ("In the last run 2 users failed.", False)


def test_no_run_at_all_says_how_to_start_one(viewer: Client) -> None:
    EngagementJobRun.objects.all().delete()
    problem = the_problem(viewer)
    assert problem.text == "The daily job has not run yet."
    assert status_of(viewer).last_run == "none yet"


@pytest.mark.parametrize(("scope", "level"), [("", "danger"), ("engagement.goodbye/en", "warning")])
def test_paused_sending_leads_to_the_pauses(viewer: Client, scope: str, level: str) -> None:
    until = NOW + HOUR
    SendingChannel.objects.create(backend="console", scope=scope, paused_until=until, pause_reason="a test")
    problem = the_problem(viewer)
    assert (problem.level, problem.command) == (level, "manage.py resume_sending --backend console")
    assert "is paused until 2 March 2026, 07:00 UTC: a test." in strip_tags(problem.text)
    assert len(rows_of(viewer, problem.url)) == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"status": "unknown"}, "1 message has an unknown outcome."),
        ({"status": "failed", "claimed_at": NOW - HOUR}, "1 message failed in the last 24 hours."),
    ],
)
def test_unknown_and_failed_messages_lead_to_their_lists(
    viewer: Client, fields: dict[str, Any], text: str
) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, **fields)
    problem = the_problem(viewer)
    assert (problem.text, problem.is_urgent) == (text, False)
    assert rows_of(viewer, problem.url) == [message]


def test_message_that_failed_long_ago_needs_no_attention(viewer: Client) -> None:
    queue_for(make_user(), MessageType.WELCOME, status="failed", scheduled_for=NOW - 25 * HOUR)
    assert status_of(viewer).problems == []


def test_message_that_waits_too_long_is_urgent(viewer: Client) -> None:
    waiting = queue_for(make_user(), MessageType.WELCOME, scheduled_for=NOW - 2 * HOUR)
    problem = the_problem(viewer)
    assert problem.text == "The oldest message has been due for 2 hours."
    assert (problem.is_urgent, problem.command) == (True, "manage.py send_messages")
    assert rows_of(viewer, problem.url) == [waiting]


def test_message_that_waits_for_its_turn_at_the_pace_is_not_late(viewer: Client, settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = str(1 / 120)
    for _ in range(12):
        queue_for(make_user(), MessageType.WELCOME, status="sent", claimed_at=NOW, sent_at=NOW)
    queue_for(make_user(), MessageType.WELCOME, scheduled_for=NOW - 2 * HOUR)
    assert status_of(viewer).problems == []


def test_message_that_the_sender_holds_back_is_not_late(viewer: Client) -> None:
    long_ago, later = NOW - 2 * HOUR, NOW + HOUR
    queue_for(make_user(), MessageType.WELCOME, scheduled_for=long_ago, next_attempt_at=later)
    assert status_of(viewer).problems == []


def test_urgent_problems_come_first(viewer: Client) -> None:
    user = make_user()
    queue_for(user, MessageType.WELCOME, status="unknown")
    queue_for(user, MessageType.WELCOME, scheduled_for=NOW - 2 * HOUR)
    status = status_of(viewer)
    assert [problem.is_urgent for problem in status.problems] == [True, False]
    assert (status.level, status.title) == ("danger", "2 things need attention")


def test_pauses_are_hidden_from_accounts_that_may_not_see_them(account_with: Any) -> None:
    SendingChannel.objects.create(backend="console", paused_until=NOW + HOUR)
    client = account_with(
        "view_userengagementstate",
        "view_engagementstatetransition",
        "view_engagementmessage",
        "view_engagementjobrun",
    )
    assert status_of(client).problems == []
