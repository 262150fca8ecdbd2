"""A run meets locks, slow commits, stops and deaf servers. Real connections and processes."""

from __future__ import annotations

import json
import signal
import socket
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection

from engagement.selectors import due_users
from engagement.services.resilience.stop import StopRequest
from tests.database import (
    another_connection,
    execute,
    fail_moves_of,
)
from tests.factories import make_users
from tests.integration.job.outcomes import assert_all_moved_once
from tests.running import database_url, run_job, start_process
from tests.waiting import DEADLINE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def impatient(settings: Settings) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    settings.ENGAGEMENT_BATCH_ATTEMPTS = 2


@pytest.mark.usefixtures("impatient")
def test_locked_table_ends_the_run_soon_and_blames_nobody() -> None:
    make_users(32, "silent")
    with another_connection(autocommit=False) as other:
        other.execute("LOCK TABLE engagement_message_queue IN SHARE MODE")
        started_at = monotonic()
        result = run_job()
        # The batch twice, and each half once; not once for each user.
        assert monotonic() - started_at < 10
        other.rollback()
    assert (result.status, result.succeeded, result.failed) == ("failed", 0, 0)
    assert "Other programs kept the database busy" in str(result.failure)
    assert run_job().succeeded == 32
    assert_all_moved_once(32)


@pytest.mark.usefixtures("impatient")
def test_locked_state_table_ends_the_run_and_blames_nobody() -> None:
    make_users(4, "silent")
    with another_connection(autocommit=False) as other:
        other.execute("LOCK TABLE user_engagement_states IN ACCESS EXCLUSIVE MODE")
        result = run_job()
        other.rollback()
    assert (result.status, result.processed) == ("failed", 0)
    assert "Other programs kept the database busy" in str(result.failure)


def test_skip_count_that_takes_too_long_does_not_keep_users_from_being_moved(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_BATCH_ATTEMPTS = 1
    make_users(4, "silent")

    def take_too_long(*_arguments: object, **_options: object) -> None:
        execute("SET LOCAL statement_timeout = '10ms'")
        execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(due_users, "count_skipped", take_too_long)
    result = run_job()
    assert (result.status, result.succeeded, result.skipped.total) == ("succeeded", 4, 0)
    assert_all_moved_once(4)


def test_user_locked_while_their_batch_is_searched_is_passed_over() -> None:
    """The halves of a failed batch skip locked rows as the batch did."""
    users = make_users(8, "silent")
    fail_moves_of(users[0])
    first_try_is_over = threading.Event()
    with another_connection(autocommit=False) as other:

        def lock_one_meanwhile() -> None:
            if not first_try_is_over.is_set():
                first_try_is_over.set()
                other.execute(
                    "SELECT FROM user_engagement_states WHERE user_id = %s FOR UPDATE", [users[5].user_id]
                )

        with at_rollback(lock_one_meanwhile):
            result = run_job()
        other.rollback()
    assert (result.succeeded, result.failed, result.status) == (6, 1, "partial")
    assert run_job().succeeded == 1


def test_user_to_whom_another_program_only_refers_is_not_passed_over() -> None:
    """Neither when the page is claimed nor when it is searched for the one who cannot be moved."""
    users = make_users(4, "silent")
    fail_moves_of(users[0])
    with another_connection(autocommit=False) as other:
        # What PostgreSQL takes for the foreign key of a row that is being inserted.
        other.execute("SELECT FROM user_profiles WHERE user_id = %s FOR KEY SHARE", [users[3].user_id])
        result = run_job()
        other.rollback()
    assert (result.succeeded, result.failed, result.status) == (3, 1, "partial")


@contextmanager
def at_rollback(call: Callable[[], None]) -> Iterator[None]:
    """Call something each time the job's connection has rolled back."""
    rollback = connection._rollback  # type: ignore[attr-defined]  # Django's own, not in the stubs

    def rollback_and_call() -> None:
        rollback()
        call()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_rollback", rollback_and_call)
        yield


def test_batch_still_being_committed_when_the_connection_broke_is_counted() -> None:
    """The server goes on committing after its client has lost it."""
    make_users(4, "silent")
    execute("CREATE SEQUENCE faults")
    execute(
        """
        CREATE FUNCTION slow_commit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF nextval('faults') = 1 THEN PERFORM pg_sleep(2); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON engagement_message_queue
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_commit();
        """
    )
    connection.ensure_connection()
    watcher = threading.Thread(
        target=cut_off_while_it_commits, args=(connection.connection.fileno(), database_url())
    )
    watcher.start()
    try:
        result = run_job()
    finally:
        watcher.join()
        execute("DROP FUNCTION slow_commit() CASCADE")
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 4, 0)
    assert_all_moved_once(4)


def cut_off_while_it_commits(client: int, url: str) -> None:
    """Close the client's socket as soon as its session is in the middle of a commit."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'PgSleep' AND query = 'COMMIT'"
    )
    with psycopg.connect(url, autocommit=True) as other:
        wait_until(lambda: other.execute(sql).fetchone() == (1,), "nobody commits")
    end = socket.socket(fileno=client)
    end.shutdown(socket.SHUT_RDWR)
    end.detach()


def test_stop_asked_for_before_the_first_batch_moves_nobody() -> None:
    make_users(4, "silent")
    stop = StopRequest()
    stop.ask(signal.SIGTERM)
    result = run_job(stop=stop)
    assert (result.status, result.processed) == ("interrupted", 0)
    assert_all_moved_once(0)


@contextmanager
def deaf_server() -> Iterator[str]:
    """A server that accepts connections and never says a word; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/nothing"


def test_run_gives_up_a_deaf_server_within_the_limit_or_at_sigterm() -> None:
    """Two runs at once, because each waits for some seconds."""
    with deaf_server() as url:
        command = ("run_engagement_daily", "--json")
        deaf = {"DATABASE_URL": f"{url}?connect_timeout=2"}
        brief = start_process(*command, **deaf, ENGAGEMENT_RECONNECT_LIMIT_SECONDS="1")
        patient = start_process(*command, **deaf, ENGAGEMENT_RECONNECT_LIMIT_SECONDS="600")
        assert patient.stderr
        assert any("engagement_database_away" in line for line in patient.stderr)
        patient.send_signal(signal.SIGTERM)
        interrupted = patient.communicate(timeout=DEADLINE_SECONDS)
        out, err = brief.communicate(timeout=DEADLINE_SECONDS)
    assert (patient.returncode, json.loads(interrupted[0])["status"]) == (143, "interrupted")
    assert "Traceback" not in interrupted[1]
    result = json.loads(out)
    assert (brief.returncode, result["status"]) == (1, "failed")
    assert result["duration_ms"] < 20_000
    assert "The database is not available: connection timeout expired" in err
