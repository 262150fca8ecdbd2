"""The whole job through a pooler that gives each transaction another session."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.pooler import POOL_SIZE, PROGRAM, pooler_in
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import (
    KILLED,
    count_moves,
    end_of,
    kill,
    run_of,
    start_run,
    value,
    wait_for_moves,
)
from tests.acceptance.seeding import seed
from tests.running import run_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.acceptance.conftest import Size

RUNS: Final = POOL_SIZE + 2

OPEN_TRANSACTIONS: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
"""

KEPT_BY_THE_POOLER: Final = {"application_name", "client_encoding", "DateStyle", "TimeZone"}
"""The pooler sets these for each of its clients."""

READ_IN_PAGES: Final = """
import os, psycopg
from engagement.models import UserProfile
rows = UserProfile.objects.iterator(chunk_size=1)
next(rows)
with psycopg.connect(os.environ["DATABASE_URL"]) as other:
    other.execute("SELECT")
    print(1 + sum(1 for _ in rows))
"""
"""Between two rows another client takes the session that has sent the first one."""

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed (on Debian: apt install pgbouncer)"
)


@pytest.fixture
def pooler(onlooker: psycopg.Connection) -> Iterator[str]:
    with pooler_in("transaction") as url:
        yield url


def start_pooled(url: str, size: Size, *arguments: str) -> subprocess.Popen[str]:
    return start_run(
        "--batch-size", str(size.batch), *arguments, DATABASE_URL=url, DATABASE_BEHIND_POOLER="on"
    )


def test_more_runs_than_the_pool_has_sessions_move_every_user_once(
    onlooker: psycopg.Connection, pooler: str, size: Size
) -> None:
    seed(onlooker, due=size.due)
    before = take_snapshot(onlooker)
    processes = [start_pooled(pooler, size) for _ in range(RUNS - 1)]
    processes.append(start_pooled(pooler, size, "--workers", "3"))
    outcomes = [end_of(process) for process in processes]
    assert [outcome.code for outcome in outcomes] == [0] * RUNS, outcomes
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome) for outcome in outcomes])
    assert settings_left_behind(pooler) <= KEPT_BY_THE_POOLER


def test_run_killed_behind_the_pooler_leaves_nothing_to_repair(
    onlooker: psycopg.Connection, pooler: str, size: Size
) -> None:
    seed(onlooker, due=size.due)
    before = take_snapshot(onlooker)
    process = start_pooled(pooler, size)
    wait_for_moves(onlooker, size.due // 3)
    kill(process)
    wait_until(
        lambda: value(onlooker, OPEN_TRANSACTIONS) == 0,
        "the pooler does not roll back the transaction of the killed run",
    )
    assert 0 < count_moves(onlooker) < size.due
    rest = end_of(start_pooled(pooler, size))
    assert rest.code == 0
    assert_invariants(before, take_snapshot(onlooker), [KILLED, run_of(rest)])


@pytest.mark.parametrize(("behind_pooler", "code"), [("off", 1), ("on", 0)])
def test_cursor_of_the_server_is_lost_in_the_pool_unless_the_setting_is_on(
    onlooker: psycopg.Connection, pooler: str, behind_pooler: str, code: int
) -> None:
    seed(onlooker, due=100)
    outcome = run_process(
        "shell", "-v0", "-c", READ_IN_PAGES, DATABASE_URL=pooler, DATABASE_BEHIND_POOLER=behind_pooler
    )
    assert outcome.code == code, outcome
    assert ("InvalidCursorName" in outcome.err) == (behind_pooler == "off")


def settings_left_behind(url: str) -> set[str]:
    """The settings that remain in any of the pool's sessions."""
    found: set[str] = set()
    with ExitStack() as transactions:
        for _ in range(POOL_SIZE):
            connection = transactions.enter_context(psycopg.connect(url, prepare_threshold=None))
            rows = connection.execute("SELECT name FROM pg_settings WHERE source = 'session'")
            found.update(name for (name,) in rows)
    return found
