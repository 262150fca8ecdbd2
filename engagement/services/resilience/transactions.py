"""One transaction with the limits that every batch has."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_SETTINGS: Final = """
    SELECT
        set_config('lock_timeout', %s, true),
        -- A batch is few rows of a large table. Without statistics, or by its estimate of what a
        -- random page costs, PostgreSQL would sometimes read the whole table for each batch.
        set_config('enable_seqscan', %s, true),
        set_config('jit', 'off', true)
"""


def in_transaction(work: Callable[[], T], *, lock_timeout: timedelta, whole_tables: bool = False) -> T:
    """Call `work` in a transaction with a lock timeout, and return what it returns.

    Sequential scans and JIT compilation are off; `whole_tables` allows sequential scans.
    Transaction: opens one, which must be the outermost. The settings end with it, as a transaction
    pooler requires.
    """
    with transaction.atomic(durable=True):
        milliseconds = lock_timeout // timedelta(milliseconds=1)
        with connection.cursor() as cursor:
            cursor.execute(_SETTINGS, [str(milliseconds), "on" if whole_tables else "off"])
        return work()
