"""Why a user did, or did not, get a goodbye: always what the job makes of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile
from engagement.selectors.due_users import SkipReason
from engagement.selectors.user_history import STATE_TIMES
from engagement.services.explanation import Explanation, NextStep, NextStepKind, UnknownUser, explain_user
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.database import all_rows, execute
from tests.factories import NOW, TICK, UserProfileFactory, make_user
from tests.integration.operation.random_users import (
    HOUR,
    compared_with_the_job,
    instants,
    make_all,
    taken_back,
    users,
)
from tests.running import run_job

pytestmark = pytest.mark.django_db

DAY: Final = timedelta(days=1)


def explain(user: UserEngagementState, *, now: datetime = NOW) -> Explanation:
    return explain_user(user_id=user.user_id, now=now)


def verdict(user: UserEngagementState, *, now: datetime = NOW) -> tuple[str, str | None]:
    next_step = explain(user, now=now).next_step
    return next_step.verdict.value, next_step.check.name if next_step.check else None


@compared_with_the_job
@given(rows=st.lists(users, min_size=1, max_size=6), now=instants)
def test_due_now_is_whom_the_job_moves(rows: list[dict[str, Any]], now: datetime) -> None:
    with taken_back():
        everybody = make_all(rows)
        said = {user.user_id: explain(user, now=now).next_step for user in everybody}
        result = run_job(now=now)
        assert due_among(said) == dict(EngagementStateTransition.objects.values_list("user_id", "trigger"))
        assert skipped_among(said) == result.skipped._asdict()


def due_among(said: dict[UUID, NextStep]) -> dict[UUID, str]:
    """The users of whom it was said that the next run moves them, and the check that does."""
    return {
        user_id: next_step.check.name
        for user_id, next_step in said.items()
        if next_step.verdict is NextStepKind.DUE and next_step.check
    }


def skipped_among(said: dict[UUID, NextStep]) -> dict[str, int]:
    """By the first reason: of how many it was said that the next run passes them over."""
    skipped = [next_step for next_step in said.values() if next_step.verdict is NextStepKind.SKIPPED]
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
def test_verdict(traits: list[str], fields: dict[str, Any], expected: tuple[str, str | None]) -> None:
    assert verdict(make_user(*traits, **fields)) == expected


def test_conditions_that_stand_in_the_way_are_named_before_the_time_has_come() -> None:
    user = make_user(user__reengagement_opt_out=True, user__whatsapp_jid=None)
    next_step = explain(user).next_step
    assert (next_step.verdict, next_step.obstacles) == ("not_yet", ("opted_out", "no_destination"))
    assert next_step.next_run_at == NOW + 14 * DAY


@pytest.mark.parametrize(
    ("since_six", "next_run_at"), [(-TICK, NOW), (0 * TICK, NOW), (TICK, NOW + DAY), (20 * HOUR, NOW + DAY)]
)
def test_next_run_of_who_is_due_is_the_next_scheduled_one(
    since_six: timedelta, next_run_at: datetime
) -> None:
    user = make_user(last_activity_at=NOW - 20 * DAY)
    assert explain(user, now=NOW + since_six).next_step.next_run_at == next_run_at


def test_opt_out_is_no_obstacle_to_a_silent_timeout() -> None:
    assert explain(make_user("goodbye_sent", user__reengagement_opt_out=True)).next_step.obstacles == ()


def test_user_without_a_state_row_is_left_alone() -> None:
    profile = UserProfileFactory.create()
    explanation = explain_user(user_id=profile.user_id, now=NOW)
    assert (explanation.next_step.verdict, explanation.user_status, explanation.has_profile) == (
        "no_state",
        None,
        True,
    )


def test_unknown_user_is_refused() -> None:
    user_id = uuid4()
    with pytest.raises(UnknownUser, match=f"There is no user {user_id}") as error:
        explain_user(user_id=user_id, now=NOW)
    assert error.value.user_id == user_id


def test_programs_read_of_a_user_without_a_state_row_what_is_known() -> None:
    profile = UserProfileFactory.create()
    assert explain_user(user_id=profile.user_id, now=NOW).as_json() == {
        "user_id": str(profile.user_id),
        "now": NOW.isoformat(),
        **dict.fromkeys(("state", "since", *STATE_TIMES, "opted_out", "opt_out_changed_at", "reachable")),
        "unreadable": [],
        "verdict": "no_state",
        "check": None,
        "obstacles": [],
        "next_run_at": None,
        "moves": [],
        "messages": [],
    }


def test_programs_read_when_a_user_opted_out_and_was_told_goodbye_and_what_is_unreadable() -> None:
    user = make_user("silent")
    run_job()
    EngagementMessage.objects.update(status="sent", sent_at=NOW + HOUR)
    UserProfile.objects.update(opt_out_changed_at=NOW - DAY)
    execute("UPDATE user_engagement_states SET last_activity_at = '-infinity'")
    told: dict[str, Any] = explain(user).as_json()
    assert (told["opt_out_changed_at"], told["unreadable"]) == (
        (NOW - DAY).isoformat(),
        ["last_activity_at"],
    )
    assert [message["sent_at"] for message in told["messages"]] == [(NOW + HOUR).isoformat()]


def test_history_of_a_deleted_user_is_told() -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.all().delete()
    UserProfile.objects.all().delete()
    explanation = explain(user)
    assert (explanation.has_profile, explanation.next_step.verdict) == (False, "no_state")
    assert (len(explanation.moves), len(explanation.messages)) == (1, 1)


@pytest.mark.parametrize("lost", [EngagementStateTransition, EngagementMessage])
def test_half_a_history_is_enough_to_know_a_user(
    lost: type[EngagementStateTransition | EngagementMessage],
) -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.all().delete()
    UserProfile.objects.all().delete()
    lost.objects.all().delete()
    told = explain(user)
    assert len(told.moves) + len(told.messages) == 1


def test_history_names_the_run_and_the_reason() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    later = NOW + timedelta(hours=3)
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_2, now=later)
    told = explain(user, now=later)
    assert [(move.trigger, move.metadata.get("job_id")) for move in told.moves] == [
        ("inactivity_14d", str(job_id)),
        ("goodbye_response_2", None),
    ]
    assert told.moves[1].metadata["response_type"] == "busy"
    assert (told.since, [message.status for message in told.messages]) == (later, ["pending"])
    # Fourteen days after three hours past six: at six on the day after.
    assert told.next_step.next_run_at == NOW + 15 * DAY


@pytest.mark.parametrize(
    ("traits", "since"),
    [
        ([], "created_at"),
        (["goodbye_sent"], "goodbye_sent_at"),
        (["dormant"], None),
        (["help_flow"], None),
    ],
)
def test_without_an_audit_row_the_state_row_says_since_when_or_nobody_does(
    traits: list[str], since: str | None
) -> None:
    user = make_user(*traits)
    user.refresh_from_db()
    assert explain(user).since == (getattr(user, since) if since else None)


def test_audit_log_that_another_program_has_overtaken_says_nothing_of_the_state() -> None:
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.update(state="help_flow")
    assert explain(user).since is None


@pytest.mark.parametrize(
    ("column", "value", "traits", "expected"),
    [
        ("last_activity_at", "infinity", [], "never"),
        ("last_activity_at", "-infinity", [], "unreadable"),
        ("last_activity_at", "0044-03-15 12:00:00+00 BC", [], "unreadable"),
        ("last_activity_at", "9999-12-31 12:00:00+00", [], "never"),
        ("last_activity_at", "12000-01-01 12:00:00+00", [], "never"),
        ("goodbye_expires_at", "infinity", ["goodbye_sent"], "never"),
        ("goodbye_sent_at", "-infinity", ["goodbye_sent"], "unreadable"),
        ("remind_at", "infinity", ["silent"], "unreadable"),
        ("remind_at", "infinity", ["remind_later"], "never"),
    ],
)
def test_time_that_no_calendar_has_is_told_and_is_what_the_job_fails_on(
    column: str, value: str, traits: list[str], expected: str
) -> None:
    user = make_user(*traits)
    execute(f"UPDATE user_engagement_states SET {column} = %s::timestamptz", value)
    explanation = explain(user)
    assert explanation.next_step.verdict == expected
    assert json.dumps(explanation.as_json())
    result = run_job()
    assert (result.succeeded, result.failed) == (0, 1 if expected == "unreadable" else 0)


def test_looking_changes_nothing() -> None:
    user = make_user("silent")
    run_job()
    before = all_rows()
    explain(user, now=NOW + TICK)
    assert all_rows() == before


def test_no_address_is_told_not_even_one_that_another_program_put_there() -> None:
    user = make_user("silent", user__whatsapp_jid="5511999990000@s.whatsapp.net")
    run_job()
    EngagementStateTransition.objects.update(
        metadata={"job_id": "to 5511999990000@s.whatsapp.net", "phone": "5511999990000"}
    )
    EngagementMessage.objects.update(status="failed", error_message="5511999990000@s.whatsapp.net is unknown")
    told = explain(user)
    assert "5511999990000" not in repr(told) + json.dumps(told.as_json())
    assert told.messages[0].error_message == "[address] is unknown"


@pytest.mark.parametrize("metadata", [[], "text", 7, {"job_id": {"deep": 1}}])
def test_metadata_of_any_shape_is_no_trouble(metadata: object) -> None:
    user = make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata=metadata)
    assert json.dumps(explain(user).as_json())


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        explain(make_user(), now=NOW.replace(tzinfo=None))
