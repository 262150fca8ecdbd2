"""The numbers of the front page, against PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import EngagementStateTransition, MessageType
from engagement.schedule import DEFAULT_RUN_TIME, first_run_from
from engagement.selectors import dashboard as dashboard_selectors
from engagement.selectors.dashboard import Backlog, DailyTransitions, Due
from engagement.selectors.due_users import due
from engagement.services.support import bring_back
from engagement.states import CHECKS, Policy, State
from tests.database import execute, truncate_users
from tests.factories import NOW, TICK, make_user, make_users, queue_for
from tests.integration.operation.random_users import (
    compared_with_the_job,
    instants,
    make_all,
    taken_back,
    users,
)
from tests.integration.operation.undoing import LATER, undo
from tests.running import run_job

pytestmark = pytest.mark.django_db


def moves(
    trigger: str,
    from_state: str,
    to_state: str,
    *,
    number: int = 1,
    manual: bool = False,
    undone: UUID | None = None,
    goodbye: str | None = None,
) -> DailyTransitions:
    """Of the second of March."""
    undone_job_id = None if undone is None else str(undone)
    day = date(2026, 3, 2)
    return DailyTransitions(day, trigger, from_state, to_state, manual, undone_job_id, goodbye, number)


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


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=8), now=instants)
def test_due_is_whom_the_checks_themselves_would_find(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        make_all(rows)
        assert dashboard_selectors.due_by_check(now=now, policy=Policy()) == {
            check: Due(
                *(
                    due(check, now=at, policy=Policy()).count()
                    for at in (now, first_run_from(now, run_time=DEFAULT_RUN_TIME))
                )
            )
            for check in CHECKS
        }


def test_of_those_who_are_due_no_profile_is_looked_up() -> None:
    truncate_users()
    make_users(2_000, "silent")
    make_user("silent", user__reengagement_opt_out=True)
    make_user("silent", user__whatsapp_jid="")
    execute("ANALYZE user_engagement_states, user_profiles")
    with CaptureQueriesContext(connection) as queries:
        dashboard_selectors.due_by_check(now=NOW, policy=Policy())
    (query,) = queries
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "profile_skipped_idx" in plan
    assert "Seq Scan on user_profiles" not in plan


def test_backlog_says_what_waits_failed_and_is_in_doubt() -> None:
    user = make_user()
    assert dashboard_selectors.message_backlog(now=NOW) == Backlog(0, None, {}, 0, 0, 0, {}, 0)
    two_days_ago = NOW - timedelta(days=2)
    queue_for(user, MessageType.WELCOME, scheduled_for=two_days_ago)
    queue_for(user, MessageType.WELCOME, outcome_reason="waiting_hours")
    queue_for(user, MessageType.WELCOME, status="sending")
    for _ in range(2):
        queue_for(user, MessageType.WELCOME, status="unknown")
        queue_for(user, MessageType.WELCOME, status="failed", outcome_reason="recipient")
    queue_for(user, MessageType.WELCOME, status="failed")
    queue_for(user, MessageType.WELCOME, status="sent", claimed_at=NOW - timedelta(hours=1))
    queue_for(user, MessageType.WELCOME, status="sent", claimed_at=two_days_ago)
    assert dashboard_selectors.message_backlog(now=NOW) == Backlog(
        pending=2,
        oldest_pending_at=two_days_ago,
        held_back={"waiting_hours": 1},
        sending=1,
        unknown=2,
        failed=3,
        failed_by_reason={"recipient": 2},
        sent_of_late=1,
        failed_of_late=3,
        oldest_due_at=two_days_ago,
    )


def test_backlog_says_what_failed_of_late() -> None:
    user, an_hour, two_days = make_user(), timedelta(hours=1), timedelta(days=2)
    for ago in (an_hour, two_days):
        queue_for(user, MessageType.WELCOME, status="failed", scheduled_for=NOW - ago)
        queue_for(user, MessageType.WELCOME, status="failed", claimed_at=NOW - ago)
        queue_for(user, MessageType.WELCOME, status="sent", claimed_at=NOW - ago, failed_at=NOW)
    queue_for(user, MessageType.WELCOME, status="sent", claimed_at=NOW, failed_at=NOW, read_at=NOW)
    backlog = dashboard_selectors.message_backlog(now=NOW)
    assert (backlog.failed, backlog.failed_of_late, backlog.not_delivered) == (4, 2, 1)


def test_moves_are_counted_by_day_trigger_and_states() -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    run_job()
    assert sorted(dashboard_selectors.transitions_by_day(now=NOW)) == [
        moves("goodbye_timeout", "goodbye_sent", "dormant", goodbye="perhaps_sent"),
        moves("inactivity_14d", "active", "goodbye_sent", number=2),
    ]


@pytest.mark.parametrize(("step", "counted"), [(-TICK, 0), (timedelta(0), 1), (TICK, 1)])
def test_thirty_days_begin_with_the_first_instant_of_the_first(step: timedelta, counted: int) -> None:
    make_user("silent")
    run_job()
    first = dashboard_selectors.first_instant(NOW)
    assert first.date() == NOW.date() - timedelta(days=29)
    EngagementStateTransition.objects.update(created_at=first + step)
    assert len(dashboard_selectors.transitions_by_day(now=NOW)) == counted


def test_days_are_those_of_the_active_time_zone() -> None:
    make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(created_at=NOW.replace(hour=1))
    with timezone.override("America/Sao_Paulo"):
        (counted,) = dashboard_selectors.transitions_by_day(now=NOW)
        assert counted.day == NOW.date() - timedelta(days=1)
        assert dashboard_selectors.first_instant(NOW) == datetime(2026, 2, 1, 3, tzinfo=UTC)


def test_move_that_lies_ahead_is_not_counted() -> None:
    make_user("silent")
    run_job()
    assert dashboard_selectors.transitions_by_day(now=NOW - TICK) == []


@pytest.mark.parametrize(("hours", "counted"), [(0, 1), (23, 1), (25, 0)])
def test_clock_that_made_an_id_may_differ_by_a_day_from_the_one_of_the_move(hours: int, counted: int) -> None:
    """So many hours the ids of a host lag behind the database, at the edge of the days shown."""
    make_user("silent")
    run_job()
    first = dashboard_selectors.first_instant(NOW)
    milliseconds = int((first - timedelta(hours=hours)).timestamp() * 1000)
    EngagementStateTransition.objects.update(id=UUID(int=milliseconds << 80 | 7 << 76), created_at=first)
    assert len(dashboard_selectors.transitions_by_day(now=NOW)) == counted


def test_moves_by_hand_and_moves_that_undid_a_run_are_told_apart() -> None:
    returned, timed_out = make_user("goodbye_sent"), make_user("goodbye_sent")
    bring_back(user_id=returned.user_id, performed_by="grace", now=NOW)
    job_id = run_job().job_id
    undo(job_id)
    assert sorted(dashboard_selectors.transitions_by_day(now=LATER)) == [
        moves("goodbye_timeout", "goodbye_sent", "dormant", goodbye="perhaps_sent"),
        moves("run_undone", "dormant", "goodbye_sent", undone=job_id, goodbye="perhaps_sent"),
        moves("user_message", "goodbye_sent", "active", manual=True),
    ]
    timed_out.refresh_from_db()
    assert timed_out.state == State.GOODBYE_SENT
