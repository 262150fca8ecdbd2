"""undo_engagement_run as an operator and a program see it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time

from engagement.models import EngagementMessage
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.database import execute, fail_moves_of
from tests.factories import NOW, make_user, make_users
from tests.running import Outcome, run_command, run_job

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.django_db


def undo(job_id: UUID, *arguments: str) -> Outcome:
    with freeze_time(NOW + timedelta(hours=2)):
        return run_command("undo_engagement_run", str(job_id), *arguments)


def test_undo_reports_users_goodbyes_and_reasons() -> None:
    users = make_users(3, "silent")
    job_id = run_job().job_id
    transition_state(user_id=users[0].user_id, trigger=Trigger.USER_MESSAGE, now=NOW + timedelta(hours=1))
    lines = undo(job_id).out.splitlines()
    assert lines[:2] == [
        f"2 users returned to their state before run {job_id}; 2 unsent goodbyes cancelled.",
        "Not undone: 1, changed since the run.",
    ]
    assert lines[2].startswith("Succeeded, in ")


def test_dry_run_counts_and_writes_nothing() -> None:
    make_user("silent")
    job_id = run_job().job_id
    assert undo(job_id, "--dry-run").out.splitlines()[:2] == [
        "Dry run: nothing was written.",
        f"1 user returned to their state before run {job_id}; 1 unsent goodbye cancelled.",
    ]
    assert EngagementMessage.objects.get().status == "pending"


def test_undo_as_json_has_fixed_keys() -> None:
    make_users(2, "silent")
    job_id = run_job().job_id
    outcome = undo(job_id, "--json")
    assert (outcome.code, {**outcome.json, "duration_ms": 0}) == (
        0,
        {
            "job_id": str(job_id),
            "status": "succeeded",
            "dry_run": False,
            "now": "2026-03-02T08:00:00+00:00",
            "undone": 2,
            "messages_cancelled": 2,
            "failed": 0,
            "left_alone": 0,
            "left_alone_by_reason": {
                "already_undone": 0,
                "moved_on": 0,
                "goodbye_sent": 0,
                "goodbye_failed": 0,
                "goodbye_in_hand": 0,
                "goodbye_unknown": 0,
                "in_use": 0,
                "deleted": 0,
            },
            "duration_ms": 0,
            "errors": [],
        },
    )


def test_undo_as_json_counts_users_not_undone_by_reason() -> None:
    users = make_users(3, "silent")
    job_id = run_job().job_id
    transition_state(user_id=users[0].user_id, trigger=Trigger.USER_MESSAGE, now=NOW + timedelta(hours=1))
    undo(job_id)
    answer = undo(job_id, "--json").json
    reasons = {reason: count for reason, count in answer["left_alone_by_reason"].items() if count}
    assert (answer["left_alone"], reasons) == (3, {"moved_on": 1, "already_undone": 2})


def test_user_who_cannot_be_undone_is_listed_and_the_exit_code_is_3() -> None:
    users = make_users(3, "silent")
    job_id = run_job().job_id
    fail_moves_of(users[1])
    outcome = undo(job_id)
    assert outcome.code == 3
    assert f"Failed: user {users[1].user_id}, inactivity_14d: poisoned (SQLSTATE P0001)" in outcome.out
    assert "Finished, but some users failed and are unchanged, in " in outcome.out


def test_undo_that_fails_gives_the_reason_and_the_exit_code_is_1() -> None:
    make_user("silent")
    job_id = run_job().job_id
    execute("ALTER TABLE engagement_message_queue RENAME COLUMN status TO condition")
    outcome = undo(job_id)
    assert outcome.code == 1
    assert outcome.err.startswith("undo_engagement_run: The database cannot be used like this: column")
    assert "Failed" in outcome.out


def test_explanation_lists_the_undone_run() -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    undo(job_id)
    lines = run_command("explain_engagement", str(user.user_id)).out.splitlines()
    assert (
        "- 2 March 2026, 08:00 UTC: goodbye_sent -> active, run undone,"
        f" silent for 14 days, run {job_id}." in lines
    )
    assert "- goodbye, queued on 2 March 2026, 06:00 UTC: cancelled (the run was undone)." in lines
