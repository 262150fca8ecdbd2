"""The tables, faults that the database provokes, and a second connection that observes and interferes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from django.db import connection

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from tests.running import database_url
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODELS: Final = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)

GATE: Final = 14
"""The advisory lock that transitions wait for after `wait_at_gate`."""

AT_THE_GATE: Final = """
    pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
"""The sessions of this database that wait for it."""


FILLED_BY_MIGRATIONS: Final = {
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "django_content_type",
}


def truncate_users() -> None:
    """Give the users' tables new files and new statistics until the test ends.

    The size of the old files counts in a plan, and so does an ANALYZE of an earlier test, which a rollback
    does not take back: with 10,000 rows where one is expected, a page takes ten seconds.
    """
    execute("TRUNCATE user_profiles CASCADE")


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def seem_empty(*tables: str) -> None:
    """Delete all rows, later tables first. PostgreSQL then plans for empty tables, whatever follows.

    Also after the test, unless it began with `truncate_users`.
    """
    for table in reversed(tables):
        execute(f"DELETE FROM {table}")
    execute(f"ANALYZE {', '.join(tables)}")


def rows_read() -> int:
    """How many rows this transaction has read so far, by any plan."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")
        return int(cursor.fetchone()[0])


@contextmanager
def another_connection(**options: Any) -> Iterator[psycopg.Connection]:
    """The connection of another program, in autocommit unless `autocommit=False`."""
    with psycopg.connect(database_url(), **{"autocommit": True, **options}) as other:
        yield other


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Begin the work in a thread with a connection of its own."""

    def do() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    return thread


def other_sessions() -> set[int]:
    """The other clients of this test's database, by the process that serves each."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return {pid for (pid,) in cursor.fetchall()}


def fail_moves_of(*users: UserEngagementState, error: str = "poisoned", code: str = "P0001") -> None:
    """Make PostgreSQL refuse to move these users."""
    execute("CREATE TABLE IF NOT EXISTS poisoned_users (user_id uuid PRIMARY KEY)")
    execute(
        "INSERT INTO poisoned_users SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING",
        [user.user_id for user in users],
    )
    on_every_move(
        f"""
        IF EXISTS (SELECT FROM poisoned_users WHERE user_id = NEW.user_id) THEN
            RAISE EXCEPTION '{error}' USING ERRCODE = '{code}';
        END IF;
        """
    )


def fail_first_moves(times: int, *, code: str) -> None:
    """Make the next `times` batches fail with this code.

    A sequence counts them, because a rollback does not reset it.
    """
    execute("CREATE SEQUENCE faults")
    on_every_move(
        f"""
        IF nextval('faults') <= {times} THEN
            RAISE EXCEPTION 'provoked' USING ERRCODE = '{code}';
        END IF;
        """
    )


def lose_connection_at_first_move() -> None:
    """Make the server end the session in the middle of the first batch."""
    execute("CREATE SEQUENCE faults")
    on_every_move("IF nextval('faults') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;")


def wait_at_gate() -> None:
    """Make every transition wait while a session holds the advisory lock GATE."""
    on_every_move(f"PERFORM pg_advisory_xact_lock_shared({GATE});")


def on_every_move(body: str) -> None:
    """Run PL/pgSQL before each update of a state, until the test's transaction ends or `heal` is called."""
    on_every(body, "UPDATE ON user_engagement_states")


def on_every(body: str, event: str) -> None:
    """Run PL/pgSQL before each `INSERT ON table` or the like, as `on_every_move` does."""
    execute(
        f"""
        CREATE FUNCTION at_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
        CREATE TRIGGER at_move BEFORE {event} FOR EACH ROW EXECUTE FUNCTION at_move();
        """
    )


def all_rows() -> list[list[dict[str, Any]]]:
    """All rows of the four tables, to compare before and after."""
    return [[*model._default_manager.order_by("pk").values()] for model in MODELS]


def delete_committed_rows() -> None:
    """Empty all tables but those that migrations fill."""
    names = set(connection.introspection.django_table_names(only_existing=True)) - FILLED_BY_MIGRATIONS
    # Users refer to each other's rows: the checks of foreign keys wait for the end of the transaction.
    execute(";".join(f"DELETE FROM {name}" for name in sorted(names)))


def heal() -> None:
    """Remove the faults above; for tests that commit."""
    execute(
        "DROP FUNCTION IF EXISTS at_move() CASCADE; DROP TABLE IF EXISTS poisoned_users;"
        " DROP SEQUENCE IF EXISTS faults"
    )


@contextmanager
def closed_gate() -> Iterator[psycopg.Connection]:
    """Hold the lock of `wait_at_gate` inside the block."""
    with another_connection() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [GATE])
        yield other


def wait_for_somebody_at_the_gate(other: psycopg.Connection, *, count: int = 1) -> None:
    """Return once `count` sessions, or more, wait for the advisory lock."""
    sql = f"SELECT count(*) >= {count} FROM {AT_THE_GATE}"
    wait_until(
        lambda: other.execute(sql).fetchone() == (True,), f"fewer than {count} sessions wait for the lock"
    )


def wait_for_somebody_at_a_row(other: psycopg.Connection) -> None:
    """Return once a session of this database waits for a row that another session has locked."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')"
    )
    wait_until(lambda: other.execute(sql).fetchone() != (0,), "no session waits for a row")
