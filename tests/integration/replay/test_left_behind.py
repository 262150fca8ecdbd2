"""A replay, however it ends, leaves your rows untouched and nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from psycopg import sql

from engagement.replay import scratch_database as module
from tests.acceptance.pooler import PROGRAM, transaction_pooler
from tests.acceptance.runs import wait_until
from tests.factories import make_user
from tests.integration.replay.logs import MIDNIGHT, Row, write_log
from tests.integration.replay.scratch import databases, rows
from tests.running import PROJECT, Outcome, database_url, run_command, run_process, start_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

SAMPLE: Final = str(PROJECT / "data" / "cdnow_activity.csv.gz")
NEEDS_CHILDREN: Final = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="nobody here tells whose child is whose"
)
NAME: Final = "scratch-test"
"""The name under which the connections of a replay stand in pg_stat_activity."""


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT, "parar")]))


def test_replay_touches_no_row_of_yours_and_leaves_nothing(
    onlooker: psycopg.Connection, prefix: str, log: str
) -> None:
    make_user("silent")
    before = rows()
    assert run_command("replay_activity_log", log).code == 0
    assert rows() == before
    assert not databases(onlooker, prefix)


def test_replay_that_fails_leaves_nothing(
    onlooker: psycopg.Connection, prefix: str, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement.replay.replay_player.run_daily_job", lambda **_request: 1 / 0)
    outcome = run_command("replay_activity_log", log)
    assert outcome == Outcome(
        out="",
        err="The replay met an error that nobody foresaw: ZeroDivisionError: division by zero.",
        code=1,
    )
    assert not databases(onlooker, prefix)


def start_replay(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return start_process("replay_activity_log", SAMPLE, *arguments, PGAPPNAME=NAME, **environment)


def scratch_databases_in_use(onlooker: psycopg.Connection) -> set[str]:
    """Those that have been entered and marked so."""
    found = onlooker.execute(
        "SELECT datname FROM pg_stat_activity WHERE application_name = %s AND starts_with(datname, %s)"
        " AND shobj_description(datid, 'pg_database') = %s",
        [NAME, module.PREFIX, module.MARK],
    )
    return {name for (name,) in found}


def wait_for_scratch_databases(onlooker: psycopg.Connection) -> set[str]:
    wait_until(lambda: scratch_databases_in_use(onlooker), "no replay begins")
    return scratch_databases_in_use(onlooker)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def are_gone(onlooker: psycopg.Connection, names: set[str]) -> bool:
    return not names & databases(onlooker, module.PREFIX)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_stopped_replay_leaves_nothing(
    onlooker: psycopg.Connection, number: signal.Signals, code: int
) -> None:
    process = start_replay()
    names = wait_for_scratch_databases(onlooker)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err == "CommandError: Interrupted; the scratch database is dropped.\n"
    assert are_gone(onlooker, names)
    assert not scratch_databases_in_use(onlooker)


def test_killed_replay_leaves_nothing(onlooker: psycopg.Connection) -> None:
    process = start_replay()
    names = wait_for_scratch_databases(onlooker)
    process.kill()
    _, err = process.communicate(timeout=60)
    wait_until(lambda: are_gone(onlooker, names), "the processes of a killed replay go on")
    assert "Traceback" not in err


@NEEDS_CHILDREN
def test_what_a_killed_process_leaves_is_dropped_by_the_next_replay(
    onlooker: psycopg.Connection, log: str
) -> None:
    process = start_replay()
    wait_for_scratch_databases(onlooker)
    children = children_of(process)
    # None of them may be killed before its database has the mark of those that can be dropped at once.
    wait_until(lambda: len(scratch_databases_in_use(onlooker)) == len(children), "a share does not begin")
    names = scratch_databases_in_use(onlooker)
    for child in children:
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(
        "CommandError: A process of the replay ended with code -9 before its work was done;"
    )
    assert len(err.splitlines()) == 1
    wait_until(lambda: not scratch_databases_in_use(onlooker), "a killed process stays connected")
    assert run_process("replay_activity_log", log).code == 0
    assert are_gone(onlooker, names)


@pytest.fixture
def url_without_createdb(onlooker: psycopg.Connection) -> Iterator[str]:
    role = sql.Identifier(f"replay_test_{os.getpid()}")
    password = "for-this-test"  # noqa: S105
    onlooker.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
    _, address = database_url().split("@", maxsplit=1)
    yield f"postgresql://replay_test_{os.getpid()}:{password}@{address}"
    onlooker.execute(sql.SQL("DROP ROLE {}").format(role))


def test_user_who_may_make_no_database_is_told_so(url_without_createdb: str, log: str) -> None:
    outcome = run_process("replay_activity_log", log, DATABASE_URL=url_without_createdb)
    assert outcome == Outcome(
        out="",
        err="CommandError: A replay needs a database of its own, and the user of DATABASE_URL may not make"
        " one (permission denied to create database); let an administrator run ALTER ROLE … CREATEDB, or"
        " name another user or server in DATABASE_URL.\n",
        code=1,
    )


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (on Debian: apt install pgbouncer)")
def test_pooler_that_does_not_know_the_scratch_database_is_told_of(
    onlooker: psycopg.Connection, log: str
) -> None:
    with transaction_pooler() as url:
        outcome = run_process("replay_activity_log", log, DATABASE_URL=url, DATABASE_BEHIND_POOLER="on")
    assert (outcome.code, outcome.out) == (1, "")
    assert "but DATABASE_URL does not lead to it (connection failed: " in outcome.err
    assert "behind a pooler, give this command the address of the server itself" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@NEEDS_CHILDREN
def test_other_replays_go_on_meanwhile(onlooker: psycopg.Connection, log: str) -> None:
    process = start_replay()
    wait_for_scratch_databases(onlooker)
    children = children_of(process)
    try:
        # So that none of them is through with its work before the other replay is.
        for child in children:
            os.kill(child, signal.SIGSTOP)
        names = scratch_databases_in_use(onlooker)
        assert names
        assert run_process("replay_activity_log", log).code == 0
        assert names <= scratch_databases_in_use(onlooker)
    finally:
        for child in children:
            os.kill(child, signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=60)
