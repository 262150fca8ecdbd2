"""One check of one run: page after page of due users, and the search for whoever cannot be moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from engagement.selectors import due_users
from engagement.selectors.due_users import DueUser, Position, Skipped
from engagement.services.job.batch import BatchError, move_batch, was_committed
from engagement.services.job.result import UserFailure, log_user_failed
from engagement.services.resilience.errors import ErrorKind, describe, error_kind
from engagement.services.resilience.retries import cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.services.job.batch import BatchContext
    from engagement.services.job.progress import Reporter
    from engagement.services.resilience.retries import RetryPolicy
    from engagement.states import Check

T = TypeVar("T")


@dataclass(slots=True)
class _Doubt:
    """A batch whose connection broke at its commit: the server may have carried it out."""

    error: BatchError | None = None


@dataclass(slots=True, kw_only=True)
class CheckRun:
    """Moves whoever one check finds, and reports what became of them."""

    check: Check
    context: BatchContext
    patience: RetryPolicy
    reporter: Reporter
    moved: int = 0

    def count_skipped(self) -> Skipped:
        """Those who would get a goodbye but must not, or cannot."""
        if not self.check.sends_goodbye:
            return Skipped()
        return self._ask(
            partial(due_users.count_skipped, self.check, now=self.context.now, policy=self.context.policy)
        )

    def count_due(self) -> int:
        """How many users the check would move now."""
        due = due_users.due(self.check, now=self.context.now, policy=self.context.policy)
        return self._ask(due.count)

    def move(self, *, batch_size: int, at_most: int | None) -> bool:
        """Move due users, longest waiting first; False if a stop was asked for before the end.

        The end is reached when nobody is left, or when `at_most` have moved.
        """
        after: Position | None = None
        while not self.patience.stop.is_set():
            size = batch_size if at_most is None else min(batch_size, at_most - self.moved)
            if size <= 0:
                return True
            after = self._move_page(after=after, size=size)
            if after is None:
                return True
        return False

    def _ask(self, read: Callable[[], T]) -> T:
        return self.patience.ask(read, lock_timeout=self.context.lock_timeout)

    def _move_page(self, *, after: Position | None, size: int) -> Position | None:
        """Move one page; returns where it ended, or None if nobody can be behind it."""
        page = due_users.next_page(
            self.check, now=self.context.now, policy=self.context.policy, after=after, size=size
        )
        try:
            positions = [self._position_of(user) for user in self._move_batch(page)]
        except BatchError as error:
            positions = self._positions_in(page, error)
            self._move_in_halves([position.user_id for position in positions], error)
        return positions[-1] if len(positions) == size else None

    def _positions_in(self, page: QuerySet[UserEngagementState], error: BatchError) -> list[Position]:
        if error.users:
            return [self._position_of(user) for user in error.users]
        if error_kind(cause_of(error)) is not ErrorKind.DATA:
            raise error
        # Not even reading the rows worked: one of them holds what Python cannot.
        return self._ask(partial(due_users.read_positions, self.check, page))

    def _position_of(self, user: DueUser) -> Position:
        return Position(getattr(user.user_state, self.check.due_column), user.user_state.user_id)

    def _move_in_halves(self, user_ids: Sequence[UUID], error: BatchError) -> None:
        """After `error` about these users: move all of them but whoever is the cause."""
        self._raise_unless_about_users(error)
        if len(user_ids) == 1:
            self._record_failure(user_ids[0], cause_of(error))
            return
        middle = len(user_ids) // 2
        halves = (user_ids[:middle], user_ids[middle:])
        errors = [self._try_half(half, after=error) for half in halves]
        if all(half_error and _is_concurrency(half_error) for half_error in errors):
            # Whoever is in the way is not in the way of one user: it is no use to look for one.
            raise error
        for half, half_error in zip(halves, errors, strict=True):
            if half_error:
                self._move_in_halves(half, half_error)

    def _try_half(self, user_ids: Sequence[UUID], *, after: BatchError) -> BatchError | None:
        users = due_users.still_due(
            self.check, now=self.context.now, policy=self.context.policy, among=user_ids
        )
        try:
            # The whole batch has had its attempts to get past the others.
            self._move_batch(users, attempts=1 if _is_concurrency(after) else None)
        except BatchError as error:
            return error
        return None

    def _move_batch(
        self, users: QuerySet[UserEngagementState], *, attempts: int | None = None
    ) -> Sequence[DueUser]:
        patience = self.patience if attempts is None else replace(self.patience, attempts=attempts)
        moved = patience.retry_outages(partial(self._attempt, users, _Doubt(), patience))
        self.moved += len(moved)
        self.reporter.moved(self.check, len(moved))
        return moved

    def _attempt(
        self, users: QuerySet[UserEngagementState], doubt: _Doubt, patience: RetryPolicy
    ) -> Sequence[DueUser]:
        if doubt.error and self._was_committed(doubt.error):
            return doubt.error.users
        doubt.error = None
        try:
            return patience.retry_conflicts(partial(move_batch, self.check, users, context=self.context))
        except BatchError as error:
            doubt.error = error if error.audit_id else None
            raise

    def _was_committed(self, error: BatchError) -> bool:
        ask = partial(
            was_committed,
            error.audit_id,
            user_ids=[user.user_state.user_id for user in error.users],
            lock_timeout=self.context.lock_timeout,
        )
        return self.patience.retry_conflicts(ask)

    def _raise_unless_about_users(self, error: BatchError) -> None:
        fault = error_kind(cause_of(error))
        stopped_trying = fault is ErrorKind.CONFLICT and self.patience.stop.is_set()
        if stopped_trying or fault in {ErrorKind.OUTAGE, ErrorKind.CONFIGURATION}:
            raise error

    def _record_failure(self, user_id: UUID, error: BaseException) -> None:
        failure = UserFailure(user_id, self.check.name, describe(error))
        self.reporter.failed(failure)
        log_user_failed(failure, error)


def _is_concurrency(error: BatchError) -> bool:
    return error_kind(cause_of(error)) is ErrorKind.CONFLICT
