"""Classifies database errors, and says in words what they mean. What a run does depends on the kind alone."""

from __future__ import annotations

import errno
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from django.db import Error as DatabaseError

from engagement.privacy import redact

if TYPE_CHECKING:
    from engagement.services.resilience.transactions import Batch


class ErrorKind(Enum):
    """What caused an error."""

    CONFLICT = auto()
    """Another session was in the way: try again."""
    OUTAGE = auto()
    """The database is away, going away, read-only or out of space: wait for it."""
    CONFIGURATION = auto()
    """A missing table or privilege: waiting does not help."""
    DATA = auto()
    """None of these: something in a user's own rows."""


class BatchError(Exception):
    """A batch was rolled back, or its commit is in doubt. The cause is `__cause__`."""

    def __init__(self, batch: Batch[Any]) -> None:
        super().__init__(f"A batch of {len(batch.items)} was not committed.")
        self.batch = batch


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_READ_ONLY: Final = "25006"
_CANCELLED: Final = "57014"
_CONFLICT_STATES: Final = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available: lock_timeout
        _CANCELLED,  # query_canceled: statement_timeout, or pg_cancel_backend
        "25P04",  # transaction_timeout: a smaller part of the batch may fit
    }
)
_OUTAGE_STATES: Final = frozenset(
    {
        _READ_ONLY,  # read_only_sql_transaction: the primary has become a standby
        "25P03",  # idle_in_transaction_session_timeout: the server has closed the connection
    }
)
_OUTAGE_CLASSES: Final = (
    "08",  # connection exception
    "3D",  # the database does not exist
    "28",  # the login is refused
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "57P",  # operator intervention: shutting down, crashed, starting up
    "58",  # system error: input and output
)
_CONFIGURATION_CLASSES: Final = ("42",)  # syntax error or access rule violation
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Of the process or its machine: no user's row is at fault."""
_DATA_CLASS: Final = "22"  # data exception
_REFUSALS: Final = (_DATA_CLASS, "23", "P0")  # integrity constraint violation, PL/pgSQL error
_SENTENCES: Final = {
    ErrorKind.CONFLICT: "Other programs kept the database busy for too long{cause}.",
    ErrorKind.OUTAGE: "The database is not available{cause}.",
    ErrorKind.CONFIGURATION: "The database cannot be used like this{cause}."
    " Check DATABASE_URL and the privileges of its user, and run `manage.py migrate`.",
    ErrorKind.DATA: "The database refused this{cause}.",
    _CANCELLED: "A statement took too long, or somebody cancelled it{cause}.",
    _READ_ONLY: "The database server is read-only{cause}."
    " It may be a standby: let DATABASE_URL name a server that accepts writes.",
}
"""What has happened, by SQLSTATE, or else by kind."""
_ADVICE: Final = {
    ErrorKind.CONFLICT: " Run the command again.",
    ErrorKind.OUTAGE: " Run the command again when it is.",
    _CANCELLED: " Run the command again.",
}
"""What to do about it, if the work may be repeated."""
_BAD_OPTION: Final = re.compile(r'(connection is bad: )?invalid ("?\w+"? value|port number): "')
"""How libpq refuses the value of a connection option. What the server says begins with its address."""
_QUOTED: Final = re.compile(r'".*"|".*$')


def cause_of(error: BaseException) -> BaseException:
    """The error behind a BatchError; any other error is its own cause."""
    return error.__cause__ or error if isinstance(error, BatchError) else error


def error_kind(error: BaseException) -> ErrorKind:
    """Classify an error, or the cause of a BatchError."""
    error = cause_of(error)
    state = sqlstate_of(error)
    if state is None:
        return _kind_without_code(error)
    if state in _CONFLICT_STATES:
        return ErrorKind.CONFLICT
    if state in _OUTAGE_STATES or state.startswith(_OUTAGE_CLASSES):
        return ErrorKind.OUTAGE
    return ErrorKind.CONFIGURATION if state.startswith(_CONFIGURATION_CLASSES) else ErrorKind.DATA


def _kind_without_code(error: BaseException) -> ErrorKind:
    """The server has sent nothing: the connection is gone, or could not be made."""
    # InternalError: a pooler in session mode passes on that an idle session was ended, and psycopg then gets
    # one answer too many.
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return ErrorKind.CONFIGURATION if _BAD_OPTION.match(str(error)) else ErrorKind.OUTAGE
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        return ErrorKind.OUTAGE
    # libpq reports an unknown connection option like this.
    return ErrorKind.CONFIGURATION if isinstance(error, ProgrammingError) else ErrorKind.DATA


def refuses_values(error: DatabaseError) -> bool:
    """Whether the server refuses what is to be written, for good: by its type, a constraint or a trigger."""
    state = sqlstate_of(error)
    return isinstance(error, DataError | IntegrityError) if state is None else state.startswith(_REFUSALS)


def sqlstate_of(error: BaseException) -> str | None:
    """PostgreSQL's code of an error that Django wrapped; None if the server sent none."""
    return getattr(error.__cause__, "sqlstate", None) if isinstance(error, DatabaseError) else None


def signature_of(error: BaseException) -> tuple[str, str]:
    """What two users' errors have in common if they have one cause: the code and the constraint."""
    diagnosis = getattr(error.__cause__, "diag", None)
    constraint = getattr(diagnosis, "constraint_name", None) or ""
    return sqlstate_of(error) or type(error).__name__, constraint


def loggable(error: BaseException) -> BaseException | None:
    """The error, if its traceback may be logged; None for database errors, whose text holds whole rows."""
    return None if isinstance(error, DatabaseError) else error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without addresses and phone numbers.

    PostgreSQL puts whole rows into the lines after it (DETAIL, CONTEXT), and quotes in it the values
    that it cannot parse.
    """
    line = str(error).strip().partition("\n")[0]
    if (sqlstate_of(error) or "").startswith(_DATA_CLASS):
        line = _QUOTED.sub("[value]", line)
    return redact(line)


def sentence_about(error: BaseException, *, with_cause: bool = True, is_repeatable: bool = False) -> str:
    """What an error of the database means for the operator.

    The cause is in the words of the database, which may name its host and role.
    """
    error = cause_of(error)
    state = sqlstate_of(error)
    key = state if state in _SENTENCES else error_kind(error)
    text = _SENTENCES[key].format(cause=f": {describe(error).rstrip('.')}" if with_cause else "")
    return text + _ADVICE.get(key, "") if is_repeatable else text


def describe(error: BaseException) -> str:
    """The first line of an error, with its SQLSTATE or its type."""
    if (state := sqlstate_of(error)) is not None:
        return f"{first_line(error)} (SQLSTATE {state})"
    if isinstance(error, DatabaseError):
        return first_line(error)
    return f"{type(error).__name__}: {first_line(error)}"
