"""Runs that are killed or stopped."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.due import first_goodbyes, goodbyes_in_order, take_key
from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import (
    KILLED,
    count_moves,
    end_of,
    finish,
    kill,
    run_of,
    run_to_the_end,
    start_run,
    wait_for_moves,
    wait_for_sessions,
    wait_for_the_end_of_sessions,
    wait_until_waiting,
)
from tests.acceptance.seeding import seeded
from tests.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    from random import Random

    import psycopg

    from tests.acceptance.conftest import Size


@pytest.mark.parametrize("workers", [1, 3])
def test_killed_runs_leave_nothing_to_repair_and_the_next_one_finishes(
    onlooker: psycopg.Connection, size: Size, chance: Random, workers: int
) -> None:
    before = seeded(onlooker, due=size.due)
    arguments = ("--batch-size", str(size.batch), "--workers", str(workers))
    for number in range(size.kills):
        process = start_run(*arguments)
        wait_for_sessions(onlooker)
        # The first before its first batch, the others at random moments.
        more = chance.randint(1, size.due // (2 * size.kills)) if number else 0
        wait_for_moves(onlooker, count_moves(onlooker) + more, of=process)
        kill_after(process, seconds=chance.uniform(0, 0.02))
        wait_for_the_end_of_sessions(onlooker)
        assert_invariants(before, take_snapshot(onlooker), [KILLED] * (number + 1), finished=False)
    assert 0 < count_moves(onlooker) < size.due, "the kills came too early or too late to show anything"
    last = run_to_the_end(*arguments)
    assert (last.code, last.json["status"]) == (0, "succeeded")
    assert_invariants(before, take_snapshot(onlooker), [KILLED] * size.kills + [run_of(last)])


def kill_after(process: subprocess.Popen[str], *, seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    kill(process)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_stopped_run_finishes_its_batch_and_the_next_one_the_rest(
    onlooker: psycopg.Connection,
    other: psycopg.Connection,
    size: Size,
    chance: Random,
    number: signal.Signals,
    code: int,
) -> None:
    before = seeded(onlooker, due=size.due)
    held_up = chance.choice(first_goodbyes(before))
    take_key(other, held_up)
    process = start_run("--batch-size", str(size.batch), "--workers", "1")
    wait_until_waiting(onlooker, 1)
    process.send_signal(number)
    other.rollback()
    stopped = end_of(process)
    assert (stopped.code, stopped.json["status"]) == (code, "interrupted")
    batches = goodbyes_in_order(before).index(held_up) // size.batch + 1
    assert stopped.json["succeeded"] == count_moves(onlooker) == batches * size.batch
    assert_invariants(before, take_snapshot(onlooker), [run_of(stopped)], finished=False)
    rest = finish()
    assert (rest.code, rest.json["status"]) == (0, "succeeded")
    assert_invariants(before, take_snapshot(onlooker), [run_of(stopped), run_of(rest)])


def test_second_signal_ends_the_run_at_once_and_changes_no_user(
    onlooker: psycopg.Connection, size: Size
) -> None:
    before = seeded(onlooker, due=size.due)
    with onlooker.transaction():
        # The run can begin a batch but not commit it.
        onlooker.execute("LOCK TABLE engagement_message_queue IN EXCLUSIVE MODE")
        process = start_run()
        wait_until_waiting(onlooker, 1)
        wait_until(lambda: ended_by_one_more_signal(process), "the second signal had no effect")
    assert process.returncode == -signal.SIGTERM
    process.communicate(timeout=DEADLINE_SECONDS)
    wait_for_the_end_of_sessions(onlooker)
    assert take_snapshot(onlooker) == before
    next_run = finish()
    assert_invariants(before, take_snapshot(onlooker), [KILLED, run_of(next_run)])


def ended_by_one_more_signal(process: subprocess.Popen[str]) -> bool:
    process.send_signal(signal.SIGTERM)
    # The kernel merges pending signals of the same number.
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.2)
    return process.returncode is not None
