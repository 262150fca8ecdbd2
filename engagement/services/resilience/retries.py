"""Tries again what failed because of other sessions, or because the database was away."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

import structlog
from django.db import connection
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential, wait_random

from engagement.conf import engagement_settings
from engagement.services.resilience.errors import BatchError, ErrorKind, cause_of, describe, error_kind
from engagement.services.resilience.stop import StopRequest
from engagement.services.resilience.transactions import Batch, in_transaction, limited_transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement.conf import EngagementSettings

P = ParamSpec("P")
T = TypeVar("T")
BatchType = TypeVar("BatchType", bound=Batch[Any])

SHORT_WAIT: Final = wait_random(min=0.01, max=0.25)
"""Seconds before the next attempt after a deadlock; random, so that two sessions do not meet again."""
GROWING_WAIT: Final = wait_exponential(multiplier=0.5, max=8)
"""Seconds between attempts to reach a database that is away."""

log = structlog.get_logger("engagement")


class _OutageLimit:
    """Gives up on a stop request, or when `seconds` have passed since the first failure."""

    def __init__(self, seconds: float, *, stop: StopRequest) -> None:
        self._seconds = seconds
        self._stop = stop
        self._first_failure_at: float | None = None

    def seconds_left(self, state: RetryCallState) -> float:
        now = time.monotonic()
        if self._first_failure_at is None:
            self._first_failure_at = now
        return self._seconds - max(now - self._first_failure_at, state.idle_for)

    def __call__(self, state: RetryCallState) -> bool:
        return self.seconds_left(state) <= 0 or self._stop.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a run retries; a stop request ends all waiting."""

    stop: StopRequest
    attempts: int
    reconnect_limit: timedelta
    lock_timeout: timedelta

    @classmethod
    def of(cls, settings: EngagementSettings, *, stop: StopRequest) -> RetryPolicy:
        """The policy of the settings."""
        return cls(
            stop=stop,
            attempts=settings.batch_attempts,
            reconnect_limit=settings.reconnect_limit,
            lock_timeout=settings.lock_timeout,
        )

    def without_retries(self) -> RetryPolicy:
        """The same policy with a single attempt where other sessions are in the way."""
        return replace(self, attempts=1)

    def read(self, query: Callable[[], T]) -> T:
        """Call `query` in a transaction of its own, and retry conflicts and outages.

        Transaction: opens one for each attempt, which must be the outermost.
        """
        return self.retry(partial(in_transaction, query, lock_timeout=self.lock_timeout))

    def commit(
        self, attempt: Callable[[], BatchType], *, was_committed: Callable[[BatchType], bool]
    ) -> BatchType:
        """Call `attempt`, which commits a batch, until it succeeds; never commit the batch twice.

        A connection that breaks during COMMIT leaves open whether the server carried it out. The next
        attempt asks `was_committed` first. If it gives up before it knows, the log says so.
        Raises BatchError, or an error of the database, when it gives up.
        """
        in_doubt: BatchType | None = None

        def attempt_unless_committed() -> BatchType:
            nonlocal in_doubt
            if in_doubt is not None and self.retry_conflicts(partial(was_committed, in_doubt)):
                return in_doubt
            in_doubt = None
            try:
                return self.retry_conflicts(attempt)
            except BatchError as error:
                if error.batch.written_id is not None and error_kind(error) is ErrorKind.OUTAGE:
                    in_doubt = cast("BatchType", error.batch)
                raise

        try:
            return self.retry_outages(attempt_unless_committed)
        except Exception:
            if in_doubt is not None:
                log.warning("engagement_commit_in_doubt", users=len(in_doubt.items))
            raise

    def retry(self, step: Callable[[], T]) -> T:
        """Call `step`, and retry it after conflicts with other sessions and while the database is away."""
        return self.retry_outages(partial(self.retry_conflicts, step))

    def retry_conflicts(self, step: Callable[[], T], *, within: timedelta = timedelta.max) -> T:
        """Call `step`, and retry it after deadlocks, serialization failures and lock timeouts.

        No attempt begins later than `within` after the first.
        """

        def is_last(state: RetryCallState) -> bool:
            is_late = (state.seconds_since_start or 0) >= within.total_seconds()
            return is_late or self.stop.is_set() or state.attempt_number >= self.attempts

        retrying = Retrying(
            retry=retry_if_exception(_is(ErrorKind.CONFLICT)),
            stop=is_last,
            wait=SHORT_WAIT,
            sleep=self.stop.wait,
            before_sleep=_log_conflict,
            reraise=True,
        )
        return retrying(step)

    def retry_outages(self, step: Callable[[], T]) -> T:
        """Call `step`, and retry it on a new connection while the database is away."""
        limit = _OutageLimit(self.reconnect_limit.total_seconds(), stop=self.stop)
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


def retry_outages(step: Callable[[], T]) -> T:
    """Call `step`, and retry it while the database is away, as long as the settings say."""
    return RetryPolicy.of(engagement_settings(), stop=StopRequest()).retry_outages(step)


def retry_own_transaction(service: Callable[P, T]) -> Callable[P, T]:
    """Decorate a service that opens a transaction: retry it after conflicts with other sessions.

    Its transaction has the lock timeout and the deadlines of a batch. Once it has waited as long as the lock
    timeout, it is not retried: a web server has few threads, and its client can ask again.
    Within a transaction of the caller's it is called once, since only the whole transaction can be retried.
    """

    @wraps(service)
    def call(*args: P.args, **options: P.kwargs) -> T:
        if connection.in_atomic_block:
            return service(*args, **options)
        policy = RetryPolicy.of(engagement_settings(), stop=StopRequest())
        with limited_transactions(lock_timeout=policy.lock_timeout):
            return policy.retry_conflicts(partial(service, *args, **options), within=policy.lock_timeout)

    return call


def _is(kind: ErrorKind) -> Callable[[BaseException], bool]:
    return lambda error: error_kind(error) is kind


def _drop_connection(_state: RetryCallState) -> None:
    """The next statement opens a new connection."""
    connection.close()
    # A failed attempt and its traceback hold each other, and the socket: nothing else frees it during a run.
    gc.collect()


def _log_conflict(state: RetryCallState) -> None:
    log.warning("engagement_batch_retried", attempt=state.attempt_number, error=_error_of(state))


def _log_outage(state: RetryCallState) -> None:
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning("engagement_database_away", error=_error_of(state), next_attempt_in_seconds=round(wait, 1))


def _error_of(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome else None
    return describe(cause_of(error)) if error else ""
