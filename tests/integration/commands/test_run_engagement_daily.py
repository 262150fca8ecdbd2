"""run_engagement_daily as cron, an operator and a program see it."""

from __future__ import annotations

import gc
import json
import re
from datetime import datetime, timedelta

import pytest
from freezegun import freeze_time

from engagement.management.commands.run_engagement_daily import Command
from engagement.models import EngagementMessage, EngagementStateTransition
from tests.database import (
    fail_moves_of,
)
from tests.factories import NOW, make_user, make_users
from tests.running import Outcome, run_command, run_process

KEYS = [
    "job_id",
    "status",
    "dry_run",
    "now",
    "processed",
    "succeeded",
    "failed",
    "skipped",
    "skipped_by_reason",
    "duration_ms",
    "still_due",
    "checks",
    "errors",
]


def run_daily(*arguments: str) -> Outcome:
    return run_command("run_engagement_daily", "--now", NOW.isoformat(), *arguments)


@pytest.mark.django_db
def test_json_has_the_fixed_keys() -> None:
    make_users(2, "silent")
    make_user("silent", user__reengagement_opt_out=True)
    make_user("silent", user__whatsapp_jid=None)
    outcome = run_daily("--json")
    assert outcome.code == 0
    assert list(outcome.json) == KEYS
    assert {**outcome.json, "job_id": 0, "duration_ms": 0} == {
        "job_id": 0,
        "status": "succeeded",
        "dry_run": False,
        "now": "2026-03-02T06:00:00+00:00",
        "processed": 2,
        "succeeded": 2,
        "failed": 0,
        "skipped": 2,
        "skipped_by_reason": {"opted_out": 1, "no_destination": 1},
        "duration_ms": 0,
        "still_due": 0,
        "checks": {
            "inactivity_14d": {"processed": 2, "succeeded": 2, "failed": 0, "skipped": 2},
            "goodbye_timeout": {"processed": 0, "succeeded": 0, "failed": 0, "skipped": 0},
            "reminder_due": {"processed": 0, "succeeded": 0, "failed": 0, "skipped": 0},
        },
        "errors": [],
    }
    assert EngagementStateTransition.objects.filter(metadata__job_id=outcome.json["job_id"]).count() == 2


@pytest.mark.django_db
def test_failed_user_is_listed_and_the_exit_code_is_3() -> None:
    users = make_users(3, "silent")
    fail_moves_of(users[0])
    outcome = run_daily("--json")
    assert outcome.code == 3
    assert outcome.json["status"] == "partial"
    assert outcome.json["errors"] == [
        {
            "user_id": str(users[0].user_id),
            "check_type": "inactivity_14d",
            "error": "poisoned (SQLSTATE P0001)",
        }
    ]


@pytest.mark.django_db
def test_table_has_the_counts_of_each_check() -> None:
    users = make_users(3, "silent")
    make_user("goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    fail_moves_of(users[0])
    outcome = run_daily()
    assert outcome.code == 3
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert "Engagement run as of 2026-03-02 06:00:00 UTC" in lines
    assert "check moved failed skipped result" in lines
    assert "inactivity_14d 2 1 1 goodbye queued" in lines
    assert "goodbye_timeout 1 0 0 dormant, nothing sent" in lines
    assert "Skipped: 1 opted out, 0 without an address." in lines
    assert f"Failed: user {users[0].user_id}, inactivity_14d: poisoned (SQLSTATE P0001)" in lines
    assert re.fullmatch(
        r"Finished, but some users failed and are unchanged, in .+ s\. Run [0-9a-f-]{36}\.", lines[-1]
    )


@pytest.mark.django_db
def test_table_of_a_dry_run_says_so() -> None:
    make_user("silent")
    outcome = run_daily("--dry-run")
    assert outcome.code == 0
    assert "dry run: nothing was written" in outcome.out
    assert "would move" in outcome.out
    assert not EngagementMessage.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("form", [["--limit", "3"], ["--limit", "3", "--dry-run"]], ids=" ".join)
def test_table_counts_the_users_who_are_still_due(form: list[str]) -> None:
    make_users(5, "silent")
    assert "Still due after this run: 2." in run_daily(*form).out


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [
        ["--check", "goodbye_timeout", "reminder_due"],
        ["--check", "reminder_due", "--check", "goodbye_timeout", "goodbye_timeout"],
    ],
)
def test_checks_run_in_their_own_order_whatever_the_order_of_the_options(arguments: list[str]) -> None:
    outcome = run_daily("--json", *arguments)
    assert list(outcome.json["checks"]) == ["goodbye_timeout", "reminder_due"]


@pytest.mark.django_db
def test_without_now_the_clock_is_used() -> None:
    make_user("silent")
    with freeze_time(NOW - timedelta(microseconds=1)):
        assert run_command("run_engagement_daily", "--json").json["succeeded"] == 0
    with freeze_time(NOW):
        outcome = run_command("run_engagement_daily", "--json")
    assert (outcome.json["succeeded"], outcome.json["now"]) == (1, NOW.isoformat())


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["2026-03-02T06:00:00Z", "2026-03-02T03:00:00-03:00"])
def test_now_is_an_instant_in_any_offset(text: str) -> None:
    outcome = run_command("run_engagement_daily", "--json", "--now", text)
    assert datetime.fromisoformat(outcome.json["now"]) == NOW


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("gap", "sentence"),
    [
        (timedelta(hours=-1), ""),
        (timedelta(hours=1), ""),
        (
            timedelta(days=-3),
            (
                "--now is 3 days behind the clock. A missed run needs no making up: the users who were due"
                " then are due now."
            ),
        ),
        (
            timedelta(hours=2),
            "--now is 2 hours ahead of the clock: users who are not due yet are moved.",
        ),
    ],
)
def test_now_that_is_far_from_the_clock_is_accepted_and_said_aloud(
    gap: timedelta, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with freeze_time(NOW):
        outcome = run_command("run_engagement_daily", "--json", "--now", (NOW + gap).isoformat())
    assert (outcome.code, outcome.err) == (0, f"run_engagement_daily: {sentence}\n" if sentence else "")
    warned = [record for record in caplog.records if "engagement_now_off_clock" in record.getMessage()]
    assert bool(warned) is bool(sentence)


@pytest.mark.django_db
def test_goodbye_of_a_made_up_run_that_was_never_sent_is_cancelled_by_the_regular_one() -> None:
    make_user("silent")
    with freeze_time(NOW + timedelta(days=3)):
        run_command("run_engagement_daily", "--json", "--now", NOW.isoformat())
        run_command("run_engagement_daily", "--json")
    message = EngagementMessage.objects.get()
    assert (message.status, message.outcome_reason) == ("cancelled", "wait_over")
    timeout = EngagementStateTransition.objects.get(trigger="goodbye_timeout")
    assert timeout.metadata["goodbye"] == "never_sent"


@pytest.mark.usefixtures("committed")
class TestInAProcessOfItsOwn:
    """Streams and exit codes of a real process."""

    def test_stdout_is_the_result_and_stderr_the_log(self) -> None:
        make_users(2, "silent")
        outcome = run_process("run_engagement_daily", "--json")
        assert outcome.code == 0
        assert outcome.json["succeeded"] == 2
        started, completed = (json.loads(line) for line in outcome.err.splitlines())
        assert started["event"] == "engagement_job_started"
        assert completed["event"] == "engagement_job_completed"
        assert started["job_id"] == completed["job_id"] == outcome.json["job_id"]
        assert (completed["status"], completed["succeeded"]) == ("succeeded", 2)

    def test_failed_user_is_logged(self) -> None:
        users = make_users(2, "silent")
        fail_moves_of(users[0])
        outcome = run_process("run_engagement_daily", "--json", "--now", NOW.isoformat())
        assert outcome.code == 3
        failed = [json.loads(line) for line in outcome.err.splitlines() if "engagement_user_failed" in line]
        assert [(line["user_id"], line["check_type"], line["error"]) for line in failed] == [
            (str(users[0].user_id), "inactivity_14d", "poisoned (SQLSTATE P0001)")
        ]
        assert failed[0]["job_id"] == outcome.json["job_id"]


def test_only_a_process_of_its_own_collects_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(Command, "handle", lambda *_, **__: seen.append(gc.isenabled()))
    try:
        run_command("run_engagement_daily")
        Command().run_from_argv(["manage.py", "run_engagement_daily"])
    finally:
        gc.enable()

    assert seen == [True, False]
