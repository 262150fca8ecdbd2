"""explain_engagement and forecast_engagement as an operator and a program see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from engagement.models import EngagementMessage, UserEngagementState, UserProfile
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.factories import NOW, UserProfileFactory, make_user, make_users
from tests.running import Outcome, run_command, run_job
from tests.times import DAY

pytestmark = pytest.mark.django_db


def explain(user: UserEngagementState | UserProfile, *arguments: str) -> Outcome:
    return run_command("explain_engagement", str(user.user_id), "--now", NOW.isoformat(), *arguments)


def sentences(user: UserEngagementState | UserProfile) -> list[str]:
    outcome = explain(user)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.splitlines()


def forecast(*arguments: str) -> Outcome:
    return run_command("forecast_engagement", "--now", NOW.isoformat(), *arguments)


def test_explanation_lists_state_next_step_history_and_messages() -> None:
    user = make_user(last_activity_at=NOW - 20 * DAY)
    job_id = run_job(now=NOW - 3 * DAY).job_id
    EngagementMessage.objects.update(status="sent", sent_at=NOW - 3 * DAY + timedelta(minutes=5))
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_2, now=NOW - 2 * DAY)
    assert sentences(user) == [
        f"User {user.user_id}, as of 2 March 2026, 06:00 UTC.",
        "State: remind_later since 28 February 2026, 06:00 UTC.",
        "Last message other than a reply: 10 February 2026, 06:00 UTC, 20 days ago.",
        "Opted out: no.",
        "WhatsApp address: yes.",
        "Will become dormant on 15 March 2026, 06:00 UTC unless the user writes.",
        "History:",
        (
            "- 27 February 2026, 06:00 UTC: active -> goodbye_sent, inactivity, silent for 17 days,"
            f" run {job_id}."
        ),
        "- 28 February 2026, 06:00 UTC: goodbye_sent -> remind_later, reply 2: busy, silent for 18 days.",
        "Messages:",
        "- goodbye, queued on 27 February 2026, 06:00 UTC: sent on 27 February 2026, 06:05 UTC.",
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["Opted out: no.", "WhatsApp address: yes."]),
        ({"whatsapp_jid": ""}, ["Opted out: no.", "WhatsApp address: no."]),
        (
            {"reengagement_opt_out": True, "updated_at": NOW - DAY},
            [
                "Opted out: yes, date unknown (profile last changed 1 March 2026, 06:00 UTC).",
                "WhatsApp address: yes.",
            ],
        ),
        (
            {"reengagement_opt_out": True, "opt_out_changed_at": NOW - DAY, "updated_at": NOW},
            ["Opted out: yes, on 1 March 2026, 06:00 UTC.", "WhatsApp address: yes."],
        ),
    ],
)
def test_explanation_shows_opt_out_and_address(fields: dict[str, Any], expected: list[str]) -> None:
    lines = sentences(make_user(**{f"user__{name}": value for name, value in fields.items()}))
    assert lines[3:5] == expected


def test_explanation_of_users_without_a_state_row_or_a_profile() -> None:
    no_step = "No next step: the user has no state row."
    assert sentences(UserProfileFactory.create(reengagement_opt_out=False))[1:] == [
        "Opted out: no.",
        "WhatsApp address: yes.",
        no_step,
        "History: none.",
        "Messages: none.",
    ]
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.all().delete()
    UserProfile.objects.all().delete()
    lines = sentences(user)
    assert lines[1:3] == ["The user has been deleted. Their history remains.", no_step]
    assert len(lines) == 7


def test_explanation_says_that_the_start_of_a_state_is_unknown() -> None:
    assert sentences(make_user("dormant"))[1] == "State: dormant (start unknown: no audit entry)."


def test_explanation_as_json_has_fixed_keys() -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    user.refresh_from_db()
    assert explain(user, "--json").json == {
        "user_id": str(user.user_id),
        "now": "2026-03-02T06:00:00+00:00",
        "state": "active",
        "since": user.last_activity_at.isoformat(),
        "last_activity_at": "2026-02-16T05:59:59.999999+00:00",
        "goodbye_sent_at": None,
        "goodbye_expires_at": None,
        "remind_at": None,
        "unreadable": [],
        "opted_out": True,
        "opt_out_changed_at": None,
        "reachable": True,
        "verdict": "skipped",
        "check": "inactivity_14d",
        "obstacles": ["opted_out"],
        "next_run_at": "2026-03-02T06:00:00+00:00",
        "moves": [],
        "messages": [],
    }


def test_history_and_messages_as_json_have_fixed_keys() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    answer = explain(user, "--json").json
    at = "2026-03-02T06:00:00+00:00"
    assert answer["moves"] == [
        {
            "at": at,
            "from_state": "active",
            "to_state": "goodbye_sent",
            "trigger": "inactivity_14d",
            "trigger_source": "scheduler",
            "days_inactive": 14,
            "job_id": str(job_id),
        }
    ]
    assert answer["messages"] == [
        {
            "message_type": "goodbye",
            "status": "pending",
            "created_at": at,
            "scheduled_for": at,
            "sent_at": None,
            "error": None,
            "outcome_reason": None,
            "error_code": None,
            "next_attempt_at": None,
            "claimed_at": None,
            "delivered_at": None,
            "read_at": None,
            "failed_at": None,
        }
    ]


def test_forecast_is_a_table_with_a_line_for_each_run() -> None:
    make_users(3, last_activity_at=NOW - 20 * DAY)
    make_user("remind_later")
    make_user("silent", user__whatsapp_jid=None)
    outcome = forecast("--days", "4")
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert lines[0] == "Forecast from 2026-03-02 06:00 UTC, assuming no new messages"
    assert [line for line in lines if "2026-03-0" in line][1:] == [
        "Mon 2026-03-02 06:00 3 0 1 1",
        "Tue 2026-03-03 06:00 0 0 0 1",
        "Wed 2026-03-04 06:00 0 0 0 1",
        "Thu 2026-03-05 06:00 0 3 0 1",
    ]
    assert "Total transitions: 7." in lines


def test_forecast_as_json_has_fixed_keys() -> None:
    make_users(3, "silent")
    make_user("silent", user__whatsapp_jid=None)
    runs = forecast("--json").json["runs"]
    assert len(runs) == 14
    assert runs[0] == {
        "now": "2026-03-02T06:00:00+00:00",
        "processed": 3,
        "skipped": 1,
        "skipped_by_reason": {"opted_out": 0, "no_destination": 1},
        "checks": {"inactivity_14d": 3, "goodbye_timeout": 0, "reminder_due": 0},
    }


def test_forecast_of_today_has_the_counts_of_a_dry_run() -> None:
    make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    today = forecast("--json", "--days", "1").json["runs"][0]
    dry = run_command("run_engagement_daily", "--dry-run", "--json", "--now", NOW.isoformat()).json
    assert today == {
        **{key: dry[key] for key in ("now", "processed", "skipped", "skipped_by_reason")},
        "checks": {name: counts["processed"] for name, counts in dry["checks"].items()},
    }


def test_without_now_the_clock_is_used() -> None:
    user = make_user("silent")
    with freeze_time(NOW):
        assert run_command("explain_engagement", str(user.user_id), "--json").json["verdict"] == "due"
        assert run_command("forecast_engagement", "--json").json["runs"][0]["processed"] == 1
