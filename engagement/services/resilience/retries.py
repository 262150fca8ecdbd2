"""How long a run puts up with others in its way and with a database that went away."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from django.db import connection
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from engagement.services.job.batch import BatchError
from engagement.services.resilience.errors import ErrorKind, describe, error_kind
from engagement.services.resilience.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from engagement.services.resilience.stop import StopRequest

T = TypeVar("T")

SHORT_WAIT: Final = wait_random(min=0.01, max=0.25)
"""Seconds before a batch that met a deadlock is tried again; random, so that two do not meet again."""
GROWING_WAIT: Final = wait_exponential(multiplier=0.5, max=8)
"""Seconds between attempts to reach a database that went away."""

log = structlog.get_logger("engagement")


class _Limit:
    """Gives up when a stop is asked for, or when so many seconds have passed since the first failure.

    Waiting counts as well as hanging; what went well before the first failure does not.
    """

    def __init__(self, seconds: float, *, stop: StopRequest) -> None:
        self._seconds = seconds
        self._stop = stop
        self._failed_first_at: float | None = None

    def seconds_left(self, state: RetryCallState) -> float:
        now = time.monotonic()
        if self._failed_first_at is None:
            self._failed_first_at = now
        return self._seconds - max(now - self._failed_first_at, state.idle_for)

    def __call__(self, state: RetryCallState) -> bool:
        return self.seconds_left(state) <= 0 or self._stop.is_set()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries again what failed through nobody's fault."""

    stop: StopRequest
    attempts: int
    reconnect_limit: timedelta

    def throughout(self, step: Callable[[], T]) -> T:
        """Call `step`, with patience for others and for the database."""
        return self.retry_outages(partial(self.retry_conflicts, step))

    def ask(self, read: Callable[[], T], *, lock_timeout: timedelta) -> T:
        """Ask the database something, `throughout`.

        Transaction: opens one for each attempt, which must be the outermost.
        """
        return self.throughout(partial(in_transaction, read, lock_timeout=lock_timeout))

    def retry_conflicts(self, step: Callable[[], T]) -> T:
        """Call `step`, again after deadlocks, serialization failures and lock timeouts."""
        retrying = Retrying(
            retry=retry_if_exception(_is(ErrorKind.CONFLICT)),
            stop=lambda state: self.stop.is_set() or state.attempt_number >= self.attempts,
            wait=SHORT_WAIT,
            sleep=self.stop.wait,
            before_sleep=_log_retry,
            reraise=True,
        )
        return retrying(step)

    def retry_outages(self, step: Callable[[], T]) -> T:
        """Call `step`, again on a new connection while the database is away."""
        limit = _Limit(self.reconnect_limit.total_seconds(), stop=self.stop)
        retrying = Retrying(
            retry=retry_if_exception(_is(ErrorKind.OUTAGE)),
            stop=limit,
            wait=lambda state: max(min(GROWING_WAIT(state), limit.seconds_left(state)), 0),
            sleep=self.stop.wait,
            after=_drop_connection,
            before_sleep=_log_outage,
            reraise=True,
        )
        return retrying(step)


def cause_of(error: BaseException) -> BaseException:
    """What went wrong, out of its wrapping."""
    return error.__cause__ or error if isinstance(error, BatchError) else error


def _is(fault: ErrorKind) -> Callable[[BaseException], bool]:
    return lambda error: error_kind(cause_of(error)) is fault


def _drop_connection(_state: RetryCallState) -> None:
    """The next statement opens a new one."""
    connection.close()


def _log_retry(state: RetryCallState) -> None:
    log.warning("engagement_batch_retried", attempt=state.attempt_number, error=_error_of(state))


def _log_outage(state: RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning("engagement_database_away", error=_error_of(state), next_attempt_in_seconds=round(wait, 1))


def _error_of(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return describe(cause_of(error)) if error else ""
