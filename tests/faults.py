"""Errors as Django and a run raise them, for tests without a database."""

from __future__ import annotations

from django.db import OperationalError
from psycopg.errors import DeadlockDetected

from engagement.services.resilience.errors import BatchError
from engagement.services.resilience.transactions import Batch


def deadlock() -> OperationalError:
    error = OperationalError("deadlock detected")
    error.__cause__ = DeadlockDetected()
    return error


def deadlock_of_a_batch() -> BatchError:
    error = BatchError(Batch())
    error.__cause__ = deadlock()
    return error
