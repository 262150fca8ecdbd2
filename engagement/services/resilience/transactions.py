"""Transactions with the limits that every batch has, and batches that commit all or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from django.db import connection, transaction
from psycopg.pq import TransactionStatus

from engagement.conf import statement_timeout
from engagement.services.resilience.deadline import statement_deadline
from engagement.services.resilience.errors import BatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

T = TypeVar("T")

_LIMITS: Final = """
    SELECT
        set_config('lock_timeout', %s, true),
        set_config('statement_timeout', %s, true),
        set_config('idle_in_transaction_session_timeout', %s, true)
"""
_PLANNER: Final = """,
        -- A batch is few rows of a large table. Without statistics, or by its estimate of what a
        -- random page costs, PostgreSQL would sometimes read the whole table for each batch.
        set_config('enable_seqscan', %s, true),
        set_config('jit', 'off', true)
"""


@dataclass(slots=True)
class Batch(Generic[T]):
    """What one transaction has claimed and written so far."""

    items: Sequence[T] = ()
    """The claimed rows."""
    written_id: UUID | None = None
    """The id of one row that the batch wrote, once it has written all of them.

    If the transaction fails after that, only the database knows whether it was committed.
    """


BatchType = TypeVar("BatchType", bound=Batch[Any])


def in_transaction(work: Callable[[], T], *, lock_timeout: timedelta, whole_tables: bool = False) -> T:
    """Call `work` in a transaction with a lock timeout and deadlines, and return what it returns.

    ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS limits each statement, in the server and here, and how long the
    server waits for the next one.

    Sequential scans and JIT compilation are off; `whole_tables` allows sequential scans.
    Transaction: opens one, which must be the outermost. The settings end with it, as a transaction
    pooler requires.
    """
    limit = statement_timeout()
    with statement_deadline(limit), transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(
                f"{_LIMITS}{_PLANNER}", [*_times(lock_timeout, limit), "on" if whole_tables else "off"]
            )
        return work()


@contextmanager
def limited_transactions(*, lock_timeout: timedelta) -> Iterator[None]:
    """Give the transactions that this block opens the limits of `in_transaction`.

    They are set before the first statement of each transaction and end with it.
    """
    limit = statement_timeout()
    times = _times(lock_timeout, limit)

    def limit_first(execute: Callable[..., object], *arguments: Any) -> object:
        session = connection.connection
        is_first = session.info.transaction_status == TransactionStatus.IDLE
        if connection.in_atomic_block and is_first:
            with connection.wrap_database_errors:
                session.execute(_LIMITS, times)
        return execute(*arguments)

    with statement_deadline(limit), connection.execute_wrapper(limit_first):
        yield


def _times(lock_timeout: timedelta, limit: timedelta) -> Sequence[str]:
    return [milliseconds(time) for time in (lock_timeout, limit, limit)]


def milliseconds(length: timedelta) -> str:
    """The length as PostgreSQL's settings have it."""
    return str(length // timedelta(milliseconds=1))


def commit_batch(
    write: Callable[[BatchType], None], batch: BatchType, *, lock_timeout: timedelta
) -> BatchType:
    """Call `write`, which claims and changes rows and notes both in `batch`; then commit.

    Transaction: opens one, which must be the outermost.
    Raises BatchError, with the batch, from whatever went wrong.
    """
    try:
        in_transaction(partial(write, batch), lock_timeout=lock_timeout)
    except Exception as error:
        raise BatchError(batch) from error
    return batch
