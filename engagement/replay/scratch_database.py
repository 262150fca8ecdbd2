"""A database made for one piece of work and dropped after it, on the server of the real one."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import psycopg
import structlog
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseError
from uuid_utils.compat import uuid7

from engagement.services.resilience.errors import describe, first_line, sqlstate_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper

PREFIX: Final = "engagement_replay_"
MARK: Final = "Scratch database of manage.py replay_activity_log: to be dropped when nobody is connected."
MARK_OF_NEW: Final = "Scratch database of manage.py replay_activity_log: to be dropped after ten minutes."
"""The comments without which no database is taken for a left-over: once it has been entered, and before."""

_NOT_ALLOWED: Final = (
    "A replay needs a database of its own, and the user of DATABASE_URL may not make one ({reason});"
    " let an administrator run ALTER ROLE … CREATEDB, or name another user or server in DATABASE_URL."
)
_NOT_REACHED: Final = (
    "The replay's own database was made, but DATABASE_URL does not lead to it ({reason});"
    " behind a pooler, give this command the address of the server itself."
)

log = structlog.get_logger("engagement")


class NoScratchDatabase(Exception):
    """The server does not let us make a scratch database, or use it; one sentence says what to do."""


@contextmanager
def scratch_database() -> Iterator[None]:
    """While inside, this thread's default connection leads to a new database that has the app's tables.

    Transaction: none; what the caller has begun on the default connection stays as it is, and other
    threads keep their connections. The database is dropped at the end, also after an error; where
    that cannot be done the log says so. Whoever is killed leaves theirs to `drop_left_overs`.
    Repeating: each has a name of its own, so several may be open at once.
    Raises NoScratchDatabase, or an error of the database.
    """
    outer = connections[DEFAULT_DB_ALIAS]
    server, scratch = _copy(outer), _copy(outer)
    scratch.settings_dict["NAME"] = f"{PREFIX}{uuid7().hex}"
    with _made(server, scratch):
        connections[DEFAULT_DB_ALIAS] = scratch
        try:
            # The app's tables alone: those of other apps are not used.
            call_command("migrate", "engagement", verbosity=0, interactive=False)
            yield
        finally:
            connections[DEFAULT_DB_ALIAS] = outer


def drop_left_overs() -> None:
    """Drop the scratch databases of processes that were killed: those that nobody is connected to.

    Transaction: none. Repeating is harmless, also at the same time. Raises an error of the database
    only if it cannot be asked.
    """
    server = _copy(connections[DEFAULT_DB_ALIAS])
    try:
        with server.cursor() as cursor:
            cursor.execute(_LEFT_OVERS, {"prefix": PREFIX, "mark": MARK, "mark_of_new": MARK_OF_NEW})
            names = [name for (name,) in cursor.fetchall()]
        for name in names:
            # Refused if somebody has connected meanwhile; and somebody else may have been faster.
            with suppress(DatabaseError):
                _execute(server, f"DROP DATABASE {server.ops.quote_name(name)}")
                log.info("engagement_scratch_database_dropped", database=name)
    finally:
        server.close()


def _copy(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    copy = connection.copy()
    # A pool belongs to the alias, not to the settings: it would hand out connections to the real tables.
    copy.settings_dict["OPTIONS"].pop("pool", None)
    return copy


@contextmanager
def _made(server: BaseDatabaseWrapper, scratch: BaseDatabaseWrapper) -> Iterator[None]:
    name = scratch.settings_dict["NAME"]
    _create(server, name)
    # It would be idle for minutes, and somebody might end it.
    server.close()
    try:
        _enter(scratch, name)
        yield
    finally:
        scratch.close()
        _drop(server, name)
        server.close()


def _create(server: BaseDatabaseWrapper, name: str) -> None:
    try:
        # Of template0: nobody can be connected to it, and nobody has put anything into it.
        _execute(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    except DatabaseError as error:
        if sqlstate_of(error) != psycopg.errors.InsufficientPrivilege.sqlstate:
            raise
        raise NoScratchDatabase(_NOT_ALLOWED.format(reason=first_line(error))) from None
    _execute(server, f"COMMENT ON DATABASE {name} IS '{MARK_OF_NEW}'")


def _enter(scratch: BaseDatabaseWrapper, name: str) -> None:
    """Connect, and mark the database only then: if it has that mark and nobody is in it, it has been left."""
    try:
        actual_name = _value(scratch, "SELECT current_database()")
    except DatabaseError as error:
        raise NoScratchDatabase(_NOT_REACHED.format(reason=first_line(error))) from None
    if actual_name != name:
        # A pooler may send every name to one database: the real one.
        raise NoScratchDatabase(_NOT_REACHED.format(reason=f"it leads to {actual_name}"))
    _execute(scratch, f"COMMENT ON DATABASE {name} IS '{MARK}'")
    # What a crash would lose can be replayed. For later sessions, and for this one.
    _execute(scratch, f"ALTER DATABASE {name} SET synchronous_commit TO off")
    _execute(scratch, "SET synchronous_commit TO off")


def _drop(server: BaseDatabaseWrapper, name: str) -> None:
    """Drop the database, whoever is connected: a pooler may be, for a while."""
    try:
        _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    except DatabaseError as error:
        # Not raised: it would hide what became of the work.
        log.warning("engagement_scratch_database_left", database=name, error=describe(error))


_LEFT_OVERS: Final = """
    SELECT datname::text FROM pg_database
    WHERE starts_with(datname::text, %(prefix)s)
        AND CASE shobj_description(oid, 'pg_database')
            WHEN %(mark)s THEN true
            -- A UUID of version 7 begins with the milliseconds of 1970 at which it was made. What is none
            -- makes null: nobody knows how old that database is.
            WHEN %(mark_of_new)s THEN now() - interval '10 minutes' > to_timestamp(
                ('x' || substring(datname FROM '^' || %(prefix)s || '([0-9a-f]{12})'))::bit(48)::bigint
                / 1000.0
            )
        END
        AND NOT EXISTS (
            SELECT FROM pg_stat_activity
            WHERE datid = pg_database.oid AND backend_type IS DISTINCT FROM 'autovacuum worker'
        )
"""


def _execute(database: BaseDatabaseWrapper, sql: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(sql)


def _value(database: BaseDatabaseWrapper, sql: str) -> object:
    with database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
