"""The database ends the sessions of a run, crashes, or stays unavailable."""

from __future__ import annotations

import signal
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.due import first_goodbyes, take_key
from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import (
    JOB,
    count_moves,
    end_of,
    run_of,
    run_to_the_end,
    start_run,
    value,
    wait_for_moves,
    wait_until_waiting,
)
from tests.acceptance.seeding import seeded
from tests.database import execute
from tests.running import Outcome
from tests.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from random import Random

    import psycopg

    from tests.acceptance.conftest import Size
    from tests.acceptance.own_server import OwnServer
    from tests.acceptance.rows import Snapshot

TERMINATE = """
    SELECT count(*) FROM (
        SELECT pid FROM pg_stat_activity
        WHERE application_name = %s AND datname = current_database() ORDER BY random() LIMIT 1
    ) AS job WHERE pg_terminate_backend(pid)
"""


IMPATIENT = {"ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "1"}

IN_THE_UPDATE = "TRIGGER at_move BEFORE UPDATE ON user_engagement_states"
# Nothing is committed, but the client does not know.
IN_THE_COMMIT = """
    CONSTRAINT TRIGGER at_move AFTER INSERT ON engagement_state_transitions DEFERRABLE INITIALLY DEFERRED
"""

COMMITTING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'SyncRep'"


@pytest.mark.parametrize("workers", [1, 3])
def test_run_survives_repeated_ends_of_its_sessions(
    onlooker: psycopg.Connection, size: Size, chance: Random, workers: int
) -> None:
    before = seeded(onlooker, due=size.due)
    process = start_run("--batch-size", str(size.batch), "--workers", str(workers))
    for _ in range(size.kills):
        more = chance.randrange(1, size.due // size.kills)
        wait_for_moves(onlooker, min(count_moves(onlooker) + more, size.due), of=process)
        wait_until(
            lambda: value(onlooker, TERMINATE, JOB) or process.poll() is not None, "the job does not connect"
        )
    outcome = end_of(process)
    assert "engagement_database_away" in outcome.err
    assert (outcome.code, outcome.json["status"], outcome.json["failed"]) == (0, "succeeded", 0)
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 10)])
@pytest.mark.parametrize("moment", [IN_THE_UPDATE, IN_THE_COMMIT], ids=["update", "commit"])
def test_sessions_that_end_in_the_first_batches_cost_no_user_and_no_count(
    onlooker: psycopg.Connection, workers: int, batch: int, moment: str
) -> None:
    before = seeded(onlooker, due=100)
    lose_sessions(2 * workers, moment=moment)
    outcome = run_to_the_end("--batch-size", str(batch), "--workers", str(workers))
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded")
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def lose_sessions(times: int, *, moment: str) -> None:
    """End `times` sessions, each in the middle of a batch.

    With several workers, one reconnects after another has moved its users. `heal` removes the trigger.
    """
    execute(
        f"""
        CREATE SEQUENCE faults;
        CREATE FUNCTION at_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('faults') <= {times} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
            RETURN NEW;
        END $$;
        CREATE {moment} FOR EACH ROW EXECUTE FUNCTION at_move();
        """
    )


def test_run_continues_after_a_crash_of_the_server(server: OwnServer, size: Size, chance: Random) -> None:
    with server.connect() as onlooker:
        before = seeded(onlooker, due=size.due)
        process = start_run("--batch-size", str(size.batch), DATABASE_URL=server.url)
        wait_for_moves(onlooker, chance.randrange(1, size.due // 2))
    server.crash()
    server.start()
    outcome = end_of(process)
    assert "engagement_database_away" in outcome.err
    assert (outcome.code, outcome.json["status"], outcome.json["failed"]) == (0, "succeeded", 0)
    with server.connect() as onlooker:
        assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_server_that_stays_away_ends_the_run_in_one_sentence_and_the_next_run_does_the_rest(
    server: OwnServer, size: Size, chance: Random
) -> None:
    with server.connect() as onlooker:
        before = seeded(onlooker, due=size.due)
        process = start_run("--batch-size", str(size.batch), DATABASE_URL=server.url, **IMPATIENT)
        wait_for_moves(onlooker, chance.randrange(1, size.due // 2))
    server.crash()
    failed = end_of(process)
    assert (failed.code, failed.json["status"], failed.json["failed"]) == (1, "failed", 0)
    _now_is_off_the_clock, *others = [line for line in failed.err.splitlines() if not line.startswith("{")]
    assert len(others) == 1, failed.err
    assert others[0].startswith("run_engagement_daily: The database is not available: ")
    server.start()
    with server.connect() as onlooker:
        assert_invariants(before, take_snapshot(onlooker), [run_of(failed)], finished=False)
        rest = run_to_the_end(DATABASE_URL=server.url)
        assert (rest.code, rest.json["status"]) == (0, "succeeded")
        assert_invariants(before, take_snapshot(onlooker), [run_of(failed), run_of(rest)])


def test_stop_ends_workers_that_wait_for_the_server_and_the_next_run_does_the_rest(
    server: OwnServer, size: Size
) -> None:
    with server.connect() as onlooker, closing(server.connect()) as other:
        before = seeded(onlooker, due=size.due)
        other.execute("BEGIN; LOCK TABLE engagement_message_queue IN EXCLUSIVE MODE")
        # Without a stop they would wait all day.
        patient = {"ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "86400", "DATABASE_URL": server.url}
        process = start_run("--batch-size", str(size.batch), "--workers", "2", **patient)
        # Neither has committed anything, so the result is known.
        wait_until_waiting(onlooker, 2)
        server.crash()
    wait_until_away(process, sessions=2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    stopped = Outcome(out, err, process.returncode)
    assert (stopped.code, stopped.json["status"], stopped.json["succeeded"]) == (143, "interrupted", 0)
    assert "engagement_database_away" not in err, "a worker went on trying"
    server.start()
    with server.connect() as onlooker:
        assert_invariants(before, take_snapshot(onlooker), [run_of(stopped)], finished=False)
        rest = run_to_the_end(DATABASE_URL=server.url)
        assert (rest.code, rest.json["status"]) == (0, "succeeded")
        assert_invariants(before, take_snapshot(onlooker), [run_of(stopped), run_of(rest)])


def wait_until_away(process: subprocess.Popen[str], *, sessions: int) -> None:
    """Return once `sessions` have failed to reconnect: each then logs once that it waits four seconds."""
    assert process.stderr
    for line in process.stderr:
        sessions -= '"next_attempt_in_seconds": 4.0' in line
        if not sessions:
            return
    pytest.fail("the run ended first")


def test_batch_that_was_committed_while_its_connection_broke_is_counted_once(
    server: OwnServer, size: Size
) -> None:
    """PostgreSQL reports "the transaction has already committed locally", but the client is gone."""
    with server.connect() as onlooker:
        before = seeded(onlooker, due=size.due)
        with run_within_a_commit(server, before, size) as process:
            moved = count_moves(onlooker)
            assert value(onlooker, TERMINATE, JOB) == 1
            wait_for_moves(onlooker, moved + size.batch)
        outcome = end_of(process)
        assert "engagement_database_away" in outcome.err
        assert (outcome.code, outcome.json["status"], outcome.json["failed"]) == (0, "succeeded", 0)
        assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_batch_of_which_nobody_can_tell_whether_it_was_committed_is_not_counted_and_logged(
    server: OwnServer, size: Size
) -> None:
    with server.connect() as onlooker:
        before = seeded(onlooker, due=size.due)
    with run_within_a_commit(server, before, size, **IMPATIENT) as process:
        server.crash()
        try:
            failed = end_of(process)
        finally:
            server.start()
    assert (failed.code, failed.json["status"], failed.json["succeeded"]) == (1, "failed", 0)
    assert run_of(failed).in_doubt == size.batch
    with server.connect() as onlooker:
        assert count_moves(onlooker) == size.batch
        assert_invariants(before, take_snapshot(onlooker), [run_of(failed)], finished=False)


@contextmanager
def run_within_a_commit(
    server: OwnServer, before: Snapshot, size: Size, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A run with one worker. Its first batch is stored, and waits for a missing standby until the end."""
    one_worker = ("--batch-size", str(size.batch), "--workers", "1")
    try:
        with server.connect() as onlooker, server.connect() as other:
            other.execute("BEGIN")
            take_key(other, first_goodbyes(before)[0])
            process = start_run(*one_worker, DATABASE_URL=server.url, **environment)
            # The ledger is written by then, so the commit that waits is that of a batch.
            wait_until_waiting(onlooker, 1)
            set_standby(onlooker, "= 'nobody'")
            other.execute("ROLLBACK")
            wait_until(lambda: value(onlooker, COMMITTING, JOB), "no commit waits for the standby")
        yield process
    finally:
        with server.connect() as onlooker:
            set_standby(onlooker, "TO DEFAULT")


def set_standby(onlooker: psycopg.Connection, value: str) -> None:
    onlooker.execute(f"ALTER SYSTEM SET synchronous_standby_names {value}")
    onlooker.execute("SELECT pg_reload_conf()")
