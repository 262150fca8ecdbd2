"""The explanation of one user agrees with what the job does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.schedule import NextStep, NextStepKind
from engagement.selectors.goodbyes import goodbye_key
from engagement.selectors.user_history import STATE_TIMES
from engagement.services.explanation import Explanation, UnknownUser, explain_user
from engagement.services.state_machine import transition_state
from engagement.states import SkipReason, Trigger
from tests.database import all_rows
from tests.factories import NOW, TICK, UserProfileFactory, make_user, queue_for
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
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


def explain(user: UserEngagementState, *, now: datetime = NOW) -> Explanation:
    return explain_user(user_id=user.user_id, now=now)


def verdict(user: UserEngagementState, *, now: datetime = NOW) -> tuple[str, str | None]:
    next_step = explain(user, now=now).next_step
    return next_step.verdict.value, next_step.check.name if next_step.check else None


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=6), now=instants)
def test_verdict_agrees_with_the_next_run(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        next_steps = {user.user_id: explain(user, now=now).next_step for user in make_all(rows)}
        result = run_job(now=now)
        assert due_among(next_steps) == dict(
            EngagementStateTransition.objects.values_list("user_id", "trigger")
        )
        assert skipped_among(next_steps) == result.skipped._asdict()


def due_among(next_steps: dict[UUID, NextStep]) -> dict[UUID, str]:
    """The check that moves each user who is due."""
    return {
        user_id: next_step.check.name
        for user_id, next_step in next_steps.items()
        if next_step.verdict is NextStepKind.DUE and next_step.check
    }


def skipped_among(next_steps: dict[UUID, NextStep]) -> dict[str, int]:
    """The number of skipped users by their first reason."""
    skipped = [next_step for next_step in next_steps.values() if next_step.verdict is NextStepKind.SKIPPED]
    reasons = [next_step.obstacles[0] for next_step in skipped]
    return {reason.value: reasons.count(reason) for reason in SkipReason}


@compared_with_the_job
@given(row=users, now=instants)
def test_earliest_run_is_the_first_scheduled_one_that_moves_the_user(
    row: dict[str, Any], now: datetime
) -> None:
    with taken_back():
        user = make_user(**row)
        next_step = explain(user, now=now).next_step
        if next_step.next_run_at is None or next_step.obstacles:
            return
        assert next_step.check
        run_before_at = next_step.next_run_at - DAY
        if run_before_at >= now:
            assert run_job(now=run_before_at).succeeded == 0
        result = run_job(now=next_step.next_run_at)
        assert (result.succeeded, result.checks[next_step.check.name].succeeded) == (1, 1)


@pytest.mark.parametrize(
    ("traits", "fields", "expected"),
    [
        (["silent"], {}, ("due", "inactivity_14d")),
        ([], {}, ("not_yet", "inactivity_14d")),
        ([], {"last_activity_at": NOW - 14 * DAY}, ("not_yet", "inactivity_14d")),
        (["silent"], {"user__reengagement_opt_out": True}, ("skipped", "inactivity_14d")),
        (["silent"], {"user__whatsapp_jid": None}, ("skipped", "inactivity_14d")),
        (["silent"], {"user__whatsapp_jid": ""}, ("skipped", "inactivity_14d")),
        (["goodbye_sent"], {}, ("due", "goodbye_timeout")),
        (["goodbye_sent"], {"user__reengagement_opt_out": True}, ("due", "goodbye_timeout")),
        (["goodbye_sent"], {"goodbye_expires_at": NOW}, ("not_yet", "goodbye_timeout")),
        (["remind_later"], {}, ("due", "reminder_due")),
        (["remind_later"], {"remind_at": NOW}, ("not_yet", "reminder_due")),
        (["help_flow"], {}, ("no_check", None)),
        (["dormant"], {}, ("no_check", None)),
    ],
)
def test_verdict_follows_from_state_time_and_obstacles(
    traits: list[str], fields: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    assert verdict(make_user(*traits, **fields)) == expected


def test_obstacles_are_listed_before_the_user_is_due() -> None:
    user = make_user(user__reengagement_opt_out=True, user__whatsapp_jid=None)
    next_step = explain(user).next_step
    assert (next_step.verdict, next_step.obstacles) == ("not_yet", ("opted_out", "no_destination"))
    assert next_step.next_run_at == NOW + 14 * DAY


@pytest.mark.parametrize(
    ("since_six", "next_run_at"), [(-TICK, NOW), (0 * TICK, NOW), (TICK, NOW + DAY), (20 * HOUR, NOW + DAY)]
)
def test_next_run_of_a_due_user_is_the_next_scheduled_run(
    since_six: timedelta, next_run_at: datetime
) -> None:
    user = make_user(last_activity_at=NOW - 20 * DAY)
    assert explain(user, now=NOW + since_six).next_step.next_run_at == next_run_at


@pytest.mark.parametrize(
    ("status", "expected"), [("failed", ("not_yet", NOW + DAY)), ("pending", ("due", NOW + DAY))]
)
def test_user_whose_key_of_today_is_taken_is_moved_tomorrow(
    status: str, expected: tuple[str, datetime]
) -> None:
    user = make_user("silent")
    now = NOW + HOUR
    queue_for(user, MessageType.GOODBYE, status=status, idempotency_key=goodbye_key(user.user_id, now=now))
    next_step = explain(user, now=now).next_step
    assert (next_step.verdict, next_step.next_run_at) == expected


def test_next_run_follows_the_run_time_setting(settings: Settings) -> None:
    settings.ENGAGEMENT_RUN_TIME = "21:30"
    user = make_user("silent")
    assert explain(user).next_step.next_run_at == NOW + timedelta(hours=15, minutes=30)


def test_opt_out_is_no_obstacle_to_a_silent_timeout() -> None:
    assert explain(make_user("goodbye_sent", user__reengagement_opt_out=True)).next_step.obstacles == ()


def test_unknown_user_is_refused() -> None:
    user_id = uuid4()
    with pytest.raises(UnknownUser, match=f"There is no user {user_id}") as error:
        explain_user(user_id=user_id, now=NOW)
    assert error.value.user_id == user_id


def test_user_without_a_state_row_has_no_state_and_no_next_step() -> None:
    profile = UserProfileFactory.create(
        reengagement_opt_out=True, opt_out_changed_at=NOW - DAY, whatsapp_jid=None
    )
    assert explain_user(user_id=profile.user_id, now=NOW).as_json() == {
        "user_id": str(profile.user_id),
        "now": NOW.isoformat(),
        **dict.fromkeys(("state", "since", *STATE_TIMES)),
        "opted_out": True,
        "opt_out_changed_at": (NOW - DAY).isoformat(),
        "reachable": False,
        "unreadable": [],
        "verdict": "no_state",
        "check": None,
        "obstacles": [],
        "next_run_at": None,
        "moves": [],
        "messages": [],
    }


def test_json_has_the_dates_of_the_opt_out_and_of_the_sent_goodbye() -> None:
    user = make_user("silent")
    run_job()
    EngagementMessage.objects.update(status="sent", sent_at=NOW + HOUR)
    UserProfile.objects.update(opt_out_changed_at=NOW - DAY)
    answer: dict[str, Any] = explain(user).as_json()
    assert answer["opt_out_changed_at"] == (NOW - DAY).isoformat()
    assert [message["sent_at"] for message in answer["messages"]] == [(NOW + HOUR).isoformat()]


@pytest.mark.parametrize("lost", [None, EngagementStateTransition, EngagementMessage])
def test_deleted_user_is_explained_from_transitions_or_messages(
    lost: type[EngagementStateTransition | EngagementMessage] | None,
) -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.all().delete()
    UserProfile.objects.all().delete()
    if lost:
        lost.objects.all().delete()
    explanation = explain(user)
    assert (explanation.has_profile, explanation.next_step.verdict) == (False, "no_state")
    assert explanation.as_json()["opted_out"] is explanation.as_json()["reachable"] is None
    assert len(explanation.transitions) + len(explanation.messages) == (1 if lost else 2)


def test_history_names_the_run_and_the_reason() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    later = NOW + timedelta(hours=3)
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_2, now=later)
    explanation = explain(user, now=later)
    assert [(row.trigger, row.metadata.get("job_id")) for row in explanation.transitions] == [
        ("inactivity_14d", str(job_id)),
        ("goodbye_response_2", None),
    ]
    assert explanation.transitions[1].metadata["response_type"] == "busy"
    assert (explanation.since, [row.status for row in explanation.messages]) == (later, ["pending"])
    # The reminder is due at 09:00; the next run after that is at 06:00 on the following day.
    assert explanation.next_step.next_run_at == NOW + 15 * DAY


@pytest.mark.parametrize(
    ("traits", "since"),
    [
        ([], "last_activity_at"),
        (["goodbye_sent"], "goodbye_sent_at"),
        (["dormant"], None),
        (["help_flow"], None),
    ],
)
def test_without_an_audit_row_the_start_of_the_state_comes_from_the_state_row(
    traits: list[str], since: str | None
) -> None:
    user = make_user(*traits)
    user.refresh_from_db()
    assert explain(user).since == (getattr(user, since) if since else None)


def test_a_row_that_was_loaded_is_younger_than_the_state() -> None:
    user = make_user(last_activity_at=NOW - 400 * DAY)
    assert explain(user).since == NOW - 400 * DAY


def test_start_is_unknown_if_the_latest_audit_row_has_another_state() -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.update(state="help_flow")
    assert explain(user).since is None


def test_explaining_changes_nothing() -> None:
    user = make_user("silent")
    run_job()
    before = all_rows()
    explain(user, now=NOW + TICK)
    assert all_rows() == before


def test_explanation_has_no_address_even_if_another_program_wrote_one() -> None:
    user = make_user("silent", user__whatsapp_jid="5511999990000@s.whatsapp.net")
    run_job()
    EngagementStateTransition.objects.update(
        metadata={"job_id": "to 5511999990000@s.whatsapp.net", "phone": "5511999990000"}
    )
    EngagementMessage.objects.update(status="failed", error_message="5511999990000@s.whatsapp.net is unknown")
    explanation = explain(user)
    assert "5511999990000" not in repr(explanation) + json.dumps(explanation.as_json())
    assert explanation.messages[0].error_message == "[address] is unknown"


@pytest.mark.parametrize("metadata", [[], "text", 7, {"job_id": {"deep": 1}}])
def test_metadata_may_have_any_shape(metadata: object) -> None:
    user = make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata=metadata)
    assert json.dumps(explain(user).as_json())


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        explain(make_user(), now=NOW.replace(tzinfo=None))
