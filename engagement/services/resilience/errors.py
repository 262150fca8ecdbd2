"""Whose fault an error is: what a run does next depends on nothing else."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, ProgrammingError

from engagement.privacy import redact


class ErrorKind(Enum):
    """What is to blame for an error."""

    CONFLICT = auto()
    """Somebody else was in the way: try again."""
    OUTAGE = auto()
    """The database is gone, going, read-only or out of space: wait for it."""
    CONFIGURATION = auto()
    """A missing table or privilege: no user's fault, and waiting does not help."""
    DATA = auto()
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
_DATA_CLASS: Final = "22"  # data exception
_QUOTED: Final = re.compile(r'".*"|".*$')
_SETUP_CLASSES: Final = ("42",)  # syntax error or access rule violation: no such table, permission denied


def error_kind(error: BaseException) -> ErrorKind:
    """Classify an error that escaped from a batch."""
    state = sqlstate_of(error)
    if state is None:
        return _fault_without_code(error)
    if state in _CONCURRENCY_STATES:
        return ErrorKind.CONFLICT
    if state in _OUTAGE_STATES or state.startswith(_OUTAGE_CLASSES):
        return ErrorKind.OUTAGE
    return ErrorKind.CONFIGURATION if state.startswith(_SETUP_CLASSES) else ErrorKind.DATA


def _fault_without_code(error: BaseException) -> ErrorKind:
    """The server has said nothing: there is no connection, or there could not be one."""
    if isinstance(error, OperationalError | InterfaceError):
        return ErrorKind.OUTAGE
    # So libpq calls a connection option that does not exist.
    return ErrorKind.CONFIGURATION if isinstance(error, ProgrammingError) else ErrorKind.DATA


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code for an error that Django wrapped, or None if the server did not send one."""
    return getattr(error.__cause__, "sqlstate", None) if isinstance(error, DatabaseError) else None


def loggable(error: BaseException) -> BaseException | None:
    """The error, if it may be logged with its traceback; None for what the database said.

    That was foreseen, and its text holds whole rows. Anything else is a mistake in the code.
    """
    return None if isinstance(error, DatabaseError) else error


def first_line(error: BaseException) -> str:
    """What went wrong, in one line, without what must not be logged.

    PostgreSQL puts whole rows into the lines behind the first (DETAIL, CONTEXT): those are left out.
    Of a value that it cannot read, it quotes the text in the first.
    """
    line = str(error).strip().partition("\n")[0]
    if (sqlstate_of(error) or "").startswith(_DATA_CLASS):
        line = _QUOTED.sub("[value]", line)
    return redact(line)


def describe(error: BaseException) -> str:
    """The first line of an error, with what helps to look it up: SQLSTATE, or the type."""
    if (state := sqlstate_of(error)) is not None:
        return f"{first_line(error)} (SQLSTATE {state})"
    if isinstance(error, DatabaseError):
        return first_line(error)
    return f"{type(error).__name__}: {first_line(error)}"
