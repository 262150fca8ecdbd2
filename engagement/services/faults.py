"""Whose fault an error is: what a run does next depends on nothing else."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

from engagement.privacy import redact


class Fault(Enum):
    """What is to blame for an error."""

    CONCURRENCY = auto()
    """Somebody else was in the way: try again."""
    OUTAGE = auto()
    """The database is gone, going, read-only or out of space: wait for it."""
    SETUP = auto()
    """A missing table or privilege: no user's fault, and waiting does not help."""
    USER = auto()
    """None of these: something about a user's own rows."""


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CONCURRENCY_STATES: Final = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available: lock_timeout
        "57014",  # query_canceled: statement_timeout, or somebody's pg_cancel_backend
    }
)
_OUTAGE_STATES: Final = frozenset({"25006"})  # read_only_sql_transaction: the primary has become a standby
_OUTAGE_CLASSES: Final = (
    "08",  # connection exception
    "3D",  # the database does not exist
    "28",  # the login is refused
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "57P",  # operator intervention: shutting down, crashed, starting up
    "58",  # system error: input and output
)
_SETUP_CLASSES: Final = ("42",)  # syntax error or access rule violation: no such table, permission denied


def fault_of(error: BaseException) -> Fault:
    """Classify an error that escaped from a batch."""
    state = sqlstate_of(error)
    if state is None:
        # Without a code libpq itself gave up: there is no connection.
        is_outage = isinstance(error, OperationalError | InterfaceError)
        return Fault.OUTAGE if is_outage else Fault.USER
    if state in _CONCURRENCY_STATES:
        return Fault.CONCURRENCY
    if state in _OUTAGE_STATES or state.startswith(_OUTAGE_CLASSES):
        return Fault.OUTAGE
    return Fault.SETUP if state.startswith(_SETUP_CLASSES) else Fault.USER


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code for an error that Django wrapped, or None if the server did not send one."""
    return getattr(error.__cause__, "sqlstate", None) if isinstance(error, DatabaseError) else None


def loggable(error: BaseException) -> BaseException | None:
    """The error, if it may be logged with its traceback; None for what the database said.

    That was foreseen, and its text holds whole rows. Anything else is a mistake in the code.
    """
    return None if isinstance(error, DatabaseError) else error


def describe(error: BaseException) -> str:
    """One line for a person, without what must not be logged.

    PostgreSQL puts whole rows into the lines behind the first (DETAIL, CONTEXT): those are left out.
    """
    first_line = str(error).strip().partition("\n")[0]
    state = sqlstate_of(error)
    if state is not None:
        return redact(f"{first_line} (SQLSTATE {state})")
    if isinstance(error, DatabaseError):
        return redact(first_line)
    return redact(f"{type(error).__name__}: {first_line}")
