"""Several runs on one database at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import (
    JOB,
    KILLED,
    count_moves,
    end_of,
    finish,
    kill,
    run_of,
    start_run,
    wait_for_moves,
    wait_for_the_end_of_sessions,
    wait_until_waiting,
)
from tests.acceptance.seeding import seeded

if TYPE_CHECKING:
    import subprocess

    import psycopg

    from tests.acceptance.conftest import Size

RUNS: Final = 4


def start_together(onlooker: psycopg.Connection, size: Size) -> list[subprocess.Popen[str]]:
    """Start the runs, hold them at their first query, and release them at the same instant."""
    with onlooker.transaction():
        onlooker.execute("LOCK TABLE user_engagement_states IN ACCESS EXCLUSIVE MODE")
        processes = [
            start_run("--batch-size", str(size.batch), "--workers", "1", name=f"{JOB}-{number}")
            for number in range(RUNS)
        ]
        wait_until_waiting(onlooker, RUNS)
    return processes


def test_four_runs_at_once_move_each_user_once(onlooker: psycopg.Connection, size: Size) -> None:
    before = seeded(onlooker, due=size.due)
    outcomes = [end_of(process) for process in start_together(onlooker, size)]
    assert [outcome.code for outcome in outcomes] == [0] * RUNS, outcomes
    assert sum(outcome.json["succeeded"] > 0 for outcome in outcomes) > 1, "they did not overlap"
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome) for outcome in outcomes])


def test_four_runs_lose_no_user_when_one_is_killed(onlooker: psycopg.Connection, size: Size) -> None:
    before = seeded(onlooker, due=size.due)
    killed, *others = start_together(onlooker, size)
    wait_for_moves(onlooker, size.due // 4)
    kill(killed)
    outcomes = [end_of(process) for process in others]
    wait_for_the_end_of_sessions(onlooker, name=f"{JOB}-0")
    runs = [KILLED, *map(run_of, outcomes)]
    assert_invariants(before, take_snapshot(onlooker), runs, finished=False)
    # The other runs skipped the batch of the killed one.
    assert size.due - size.batch <= count_moves(onlooker) <= size.due
    last = finish()
    assert [outcome.code for outcome in (*outcomes, last)] == [0] * RUNS
    assert_invariants(before, take_snapshot(onlooker), [*runs, run_of(last)])
