"""Locks of other programs: a real deadlock, and a lock that is held for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.due import due_users, first_goodbyes, take_key
from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import end_of, finish, run_of, run_to_the_end, start_run, wait_until_waiting
from tests.acceptance.seeding import seeded
from tests.factories import NOW

if TYPE_CHECKING:
    import subprocess

    import psycopg

DUE: Final = 400


def retries_in(log: str, sqlstate: str) -> int:
    return sum("engagement_batch_retried" in line and sqlstate in line for line in log.splitlines())


def log_until(process: subprocess.Popen[str], event: str) -> str:
    """The log of the run up to the first such event."""
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if event in line:
            return "".join(lines)
    pytest.fail(f"the run ended without {event}: {''.join(lines)}")


def test_deadlock_costs_a_retry_and_no_user_fails(
    onlooker: psycopg.Connection, other: psycopg.Connection
) -> None:
    before = seeded(onlooker, due=DUE)
    claimed_first, *_, claimed_too = first_goodbyes(before)[:90]
    # PostgreSQL ends the session whose deadlock_timeout is over first: that of the run.
    other.execute("SET LOCAL deadlock_timeout = '1min'")
    take_key(other, claimed_too)
    process = start_run("--batch-size", "100", "--workers", "1")
    wait_until_waiting(onlooker, 1)
    # The run holds this row and waits for the key; now each waits for the other.
    other.execute("UPDATE user_engagement_states SET updated_at = now() WHERE user_id = %s", [claimed_first])
    other.rollback()
    outcome = end_of(process)
    assert (outcome.code, outcome.json["failed"]) == (0, 0)
    assert retries_in(outcome.err, "40P01") == 1, outcome.err
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_lock_timeout_costs_a_retry_and_no_user_fails(
    onlooker: psycopg.Connection, other: psycopg.Connection
) -> None:
    before = seeded(onlooker, due=DUE)
    take_key(other, first_goodbyes(before)[42])
    process = start_run("--batch-size", "100", ENGAGEMENT_LOCK_TIMEOUT_SECONDS="1")
    log = log_until(process, "engagement_batch_retried")
    other.rollback()
    outcome = end_of(process)
    assert (outcome.code, outcome.json["failed"]) == (0, 0)
    assert retries_in(log, "55P03") == 1, log
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_users_with_locked_rows_are_left_for_the_next_run(
    onlooker: psycopg.Connection, other: psycopg.Connection
) -> None:
    before = seeded(onlooker, due=DUE)
    writing_in, *_, opting_out = first_goodbyes(before)
    other.execute("UPDATE user_engagement_states SET updated_at = now() WHERE user_id = %s", [writing_in])
    other.execute("UPDATE user_profiles SET updated_at = now() WHERE user_id = %s", [opting_out])
    passing = run_to_the_end(
        "--batch-size", "100", ENGAGEMENT_LOCK_TIMEOUT_SECONDS="1", ENGAGEMENT_BATCH_ATTEMPTS="1"
    )
    assert (passing.code, passing.json["status"]) == (0, "succeeded")
    assert "engagement_batch_retried" not in passing.err
    assert passing.json["succeeded"] == len(due_users(before, now=NOW)) - 2
    assert_invariants(before, take_snapshot(onlooker), [run_of(passing)], finished=False)
    other.rollback()
    rest = finish()
    assert_invariants(before, take_snapshot(onlooker), [run_of(passing), run_of(rest)])
