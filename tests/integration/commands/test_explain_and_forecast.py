"""explain_engagement and forecast_engagement as an operator and a program see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest
from freezegun import freeze_time

from engagement.models import EngagementMessage, UserEngagementState, UserProfile
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.database import execute
from tests.factories import NOW, UserProfileFactory, make_user, make_users
from tests.running import Outcome, run_command, run_job

pytestmark = pytest.mark.django_db

DAY: Final = timedelta(days=1)


def explain(user: UserEngagementState | UserProfile, *arguments: str) -> Outcome:
    return run_command("explain_engagement", str(user.user_id), "--now", NOW.isoformat(), *arguments)


def sentences(user: UserEngagementState | UserProfile) -> list[str]:
    outcome = explain(user)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out.splitlines()


def forecast(*arguments: str) -> Outcome:
    return run_command("forecast_engagement", "--now", NOW.isoformat(), *arguments)


def test_explanation_tells_a_story() -> None:
    user = make_user(last_activity_at=NOW - 20 * DAY)
    job_id = run_job(now=NOW - 3 * DAY).job_id
    EngagementMessage.objects.update(status="sent", sent_at=NOW - 3 * DAY + timedelta(minutes=5))
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_2, now=NOW - 2 * DAY)
    assert sentences(user) == [
        f"User {user.user_id}, as of 2 March 2026, 06:00 UTC.",
        "State: remind_later, since 28 February 2026, 06:00 UTC.",
        "Last active: 10 February 2026, 06:00 UTC, 20 days ago.",
        "Reachable, and not opted out.",
        (
            "Not due yet: at the earliest the run of 15 March 2026, 06:00 UTC, makes them dormant, silently"
            " (reminder_due), if they do not write before."
        ),
        "History:",
        (
            "- 27 February 2026, 06:00 UTC: active -> goodbye_sent, 14 days of silence, silent for 17 days,"
            f" run {job_id}."
        ),
        "- 28 February 2026, 06:00 UTC: goodbye_sent -> remind_later, reply 2: busy, silent for 18 days.",
        "Messages:",
        "- goodbye, queued on 27 February 2026, 06:00 UTC: sent on 27 February 2026, 06:05 UTC.",
    ]


OUTLOOKS: Final[list[tuple[list[str], dict[str, Any], str]]] = [
    (
        ["silent"],
        {},
        "Due now: the next run, on 2 March 2026, 06:00 UTC or before, tells them goodbye (inactivity_14d).",
    ),
    (
        [],
        {"last_activity_at": NOW - 3 * DAY},
        (
            "Not due yet: at the earliest the run of 14 March 2026, 06:00 UTC, tells them goodbye"
            " (inactivity_14d), if they do not write before."
        ),
    ),
    (
        [],
        {"user__reengagement_opt_out": True},
        (
            "Not due yet: at the earliest the run of 16 March 2026, 06:00 UTC, tells them goodbye"
            " (inactivity_14d), if they do not write before; but not as long as they opted out."
        ),
    ),
    (
        ["silent"],
        {"user__reengagement_opt_out": True, "user__whatsapp_jid": ""},
        (
            "Silent for long enough, but they opted out and they have no WhatsApp address:"
            " every run passes them over."
        ),
    ),
    (
        ["dormant"],
        {},
        "Nothing comes next: no check looks at this state, and only a message from them ends it.",
    ),
]


@pytest.mark.parametrize(("traits", "fields", "sentence"), OUTLOOKS)
def test_outlook_is_a_sentence(traits: list[str], fields: dict[str, Any], sentence: str) -> None:
    assert sentence in sentences(make_user(*traits, **fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["Reachable, and not opted out."]),
        ({"whatsapp_jid": ""}, ["Not reachable: no WhatsApp address."]),
        (
            {"reengagement_opt_out": True, "updated_at": NOW - DAY},
            ["Opted out, nobody noted when; the profile was last changed on 1 March 2026, 06:00 UTC."],
        ),
        (
            {"reengagement_opt_out": True, "opt_out_changed_at": NOW - DAY, "updated_at": NOW},
            ["Opted out on 1 March 2026, 06:00 UTC."],
        ),
    ],
)
def test_what_the_profile_says_is_told(fields: dict[str, Any], expected: list[str]) -> None:
    told = sentences(make_user(**{f"user__{name}": value for name, value in fields.items()}))
    assert [line for line in told if "eachable" in line or "Opted" in line] == expected


def test_explanation_of_users_without_a_state_row_or_a_profile() -> None:
    nothing = "Nothing comes next: they have no state row, and no check looks at them."
    assert sentences(UserProfileFactory.create())[1:] == [
        nothing,
        "History: the audit log has no move of this user.",
        "Messages: none.",
    ]
    user = make_user("silent")
    run_job()
    UserEngagementState.objects.all().delete()
    UserProfile.objects.all().delete()
    told = sentences(user)
    assert told[1:3] == ["The user has been deleted; what happened to them before is kept.", nothing]
    assert len(told) == 7


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "-infinity",
            "Due now, but every run will fail to move them: correct last_activity_at, which no calendar has.",
        ),
        (
            "infinity",
            "Never due: correct last_activity_at, which lies at the end of the calendar or beyond it.",
        ),
    ],
)
def test_time_that_no_calendar_has_is_told(value: str, sentence: str) -> None:
    user = make_user()
    execute("UPDATE user_engagement_states SET last_activity_at = %s::timestamptz", value)
    assert sentence in sentences(user)


def test_explanation_for_programs_has_fixed_keys() -> None:
    user = make_user("silent", user__reengagement_opt_out=True)
    user.refresh_from_db()
    assert explain(user, "--json").json == {
        "user_id": str(user.user_id),
        "now": "2026-03-02T06:00:00+00:00",
        "state": "active",
        "since": user.created_at.isoformat(),
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


def test_moves_and_messages_for_programs_have_fixed_keys() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    told = explain(user, "--json").json
    at = "2026-03-02T06:00:00+00:00"
    assert told["moves"] == [
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
    assert told["messages"] == [
        {
            "message_type": "goodbye",
            "status": "pending",
            "created_at": at,
            "scheduled_for": at,
            "sent_at": None,
            "error": None,
        }
    ]


def test_forecast_is_a_table_with_a_line_for_each_run() -> None:
    make_users(3, last_activity_at=NOW - 20 * DAY)
    make_user("remind_later")
    make_user("silent", user__whatsapp_jid=None)
    outcome = forecast("--days", "4")
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert lines[0] == "Who would be moved from 2026-03-02 06:00 UTC on, if nobody wrote in"
    assert [line for line in lines if "2026-03-0" in line][1:] == [
        "Mon 2026-03-02 06:00 3 0 1 1",
        "Tue 2026-03-03 06:00 0 0 0 1",
        "Wed 2026-03-04 06:00 0 0 0 1",
        "Thu 2026-03-05 06:00 0 3 0 1",
    ]
    assert "Together: 7 moves." in lines


def test_forecast_for_programs_has_fixed_keys() -> None:
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


def test_forecast_of_today_says_what_a_dry_run_says() -> None:
    make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    today = forecast("--json", "--days", "1").json["runs"][0]
    dry = run_command("run_engagement_daily", "--dry-run", "--json", "--now", NOW.isoformat()).json
    assert today == {
        **{key: dry[key] for key in ("now", "processed", "skipped", "skipped_by_reason")},
        "checks": {name: counts["processed"] for name, counts in dry["checks"].items()},
    }


def test_without_now_the_clock_counts() -> None:
    user = make_user("silent")
    with freeze_time(NOW):
        assert run_command("explain_engagement", str(user.user_id), "--json").json["verdict"] == "due"
        assert run_command("forecast_engagement", "--json").json["runs"][0]["processed"] == 1
