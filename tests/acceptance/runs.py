"""Runs as separate processes, and functions that wait for their effects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.acceptance.invariants import Run
from tests.factories import NOW
from tests.running import Outcome, run_command, start_process
from tests.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    import subprocess

    import psycopg

RUN_SECONDS: Final = 240

JOB: Final = "acceptance-run"
"""The application name of a run's connection in pg_stat_activity."""


_started: Final[list[subprocess.Popen[str]]] = []


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process that ends with the test at the latest."""
    process = start_process(*arguments, **environment)
    _started.append(process)
    return process


def start_run(*arguments: str, name: str = JOB, **environment: str) -> subprocess.Popen[str]:
    """Start the job as cron would."""
    return start(
        "run_engagement_daily", "--json", "--now", NOW.isoformat(), *arguments, PGAPPNAME=name, **environment
    )


def end_of(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=RUN_SECONDS)
    return Outcome(out, err, process.returncode)


def run_to_the_end(*arguments: str, **environment: str) -> Outcome:
    return end_of(start_run(*arguments, **environment))


def finish() -> Outcome:
    """The next run, in this process, because the test does not disturb it."""
    return run_command("run_engagement_daily", "--json", "--no-progress", "--now", NOW.isoformat())


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)


def kill_what_is_left() -> None:
    """End the processes that a failed test has left."""
    while _started:
        process = _started.pop()
        if process.returncode is None:
            kill(process)


def run_of(outcome: Outcome) -> Run:
    """The run, for the invariants, from the result that it printed and the commits that it left in doubt."""
    assert "Traceback" not in outcome.err, outcome.err
    events = [json.loads(line) for line in outcome.err.splitlines() if line.startswith("{")]
    in_doubt = [event["users"] for event in events if event["event"] == "engagement_commit_in_doubt"]
    return Run(NOW, outcome.json, in_doubt=sum(in_doubt))


KILLED: Final = Run(NOW, None)


def wait_for_moves(
    connection: psycopg.Connection, count: int, *, of: subprocess.Popen[str] | None = None
) -> None:
    """Return once the audit log has `count` rows, or the process has ended."""
    wait_until(
        lambda: count_moves(connection) >= count or (of is not None and of.poll() is not None),
        f"fewer than {count} users were moved",
    )


def wait_for_sessions(connection: psycopg.Connection) -> None:
    """Return once a run is connected."""
    wait_until(lambda: count_sessions(connection, JOB) > 0, "the run does not connect")


def wait_for_the_end_of_sessions(connection: psycopg.Connection, *, name: str = JOB) -> None:
    """Return once no run is connected; a killed client's session goes on for a moment."""
    wait_until(lambda: count_sessions(connection, name) == 0, f"the sessions of {name} do not end")


def count_sessions(connection: psycopg.Connection, name: str) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    return int(value(connection, sql, name))


def count_moves(connection: psycopg.Connection) -> int:
    return int(value(connection, "SELECT count(*) FROM engagement_state_transitions"))


def value(connection: psycopg.Connection, sql: str, *parameters: Any) -> Any:
    row = connection.execute(sql, parameters or None).fetchone()
    assert row is not None
    return row[0]


def wait_until_waiting(connection: psycopg.Connection, count: int, *, name: str = JOB) -> None:
    """Return once `count` sessions whose names begin with `name` wait for a lock.

    Works inside the transaction that holds the lock, because it reads the activity again each time.
    """
    sql = """
        SELECT count(*) FROM pg_stat_get_activity(NULL) AS session
        WHERE application_name LIKE %s || '%%' AND wait_event_type = 'Lock'
            AND datid = (SELECT oid FROM pg_database WHERE datname = current_database())
    """

    def are_waiting() -> bool:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        return bool(value(connection, sql, name) >= count)

    wait_until(are_waiting, f"fewer than {count} sessions named {name} wait")
