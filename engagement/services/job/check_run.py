"""One check of one run: batch after batch, tried again, and halved to find users who cannot be moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from django.db import Error as DatabaseError

from engagement.selectors import due_users
from engagement.selectors.due_users import DueUser, Position, Skipped
from engagement.services.job.batch import BatchContext, MovedBatch, move_batch
from engagement.services.job.result import EveryUserFails, UserFailure, log_user_failed
from engagement.services.resilience.bisect import bisect_batch
from engagement.services.resilience.errors import (
    BatchError,
    ErrorKind,
    describe,
    error_kind,
    signature_of,
)
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.state_machine import was_committed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.conf import EngagementSettings
    from engagement.models import UserEngagementState
    from engagement.services.job.parallel import WorkerProgress
    from engagement.services.job.progress import RunProgress
    from engagement.services.job.request import RunRequest
    from engagement.services.resilience.stop import StopRequest
    from engagement.states import Check

log = structlog.get_logger("engagement")


MAX_SAME_ERRORS: Final = 20
"""If so many users fail with the same error before any is moved, the error is not about users."""


@dataclass(slots=True, kw_only=True)
class CheckRun:
    """Moves the users whom one check finds, and reports them to `progress`."""

    check: Check
    context: BatchContext
    retries: RetryPolicy
    progress: RunProgress | WorkerProgress
    batch_size: int
    moved: int = 0
    _errors: list[tuple[str, str]] = field(default_factory=list)
    """The errors of the users who failed."""

    def count_skipped(self) -> Skipped:
        """Users who would get a goodbye but opted out or have no address."""
        if not self.check.sends_goodbye:
            return Skipped()
        now, policy = self.context.now, self.context.policy
        return self.retries.read(partial(due_users.count_skipped, self.check, now=now, policy=policy))

    def due(self) -> QuerySet[UserEngagementState]:
        """The users whose time has come."""
        return due_users.due(self.check, now=self.context.now, policy=self.context.policy)

    def more_are_due_than(self, users: int) -> bool:
        """Whether the check finds more than so many users. Counts no further than that."""
        return self.retries.read(self.due()[: users + 1].count) > users

    def count_movable(self) -> int:
        """How many users the check would move now."""
        now, policy = self.context.now, self.context.policy
        return self.retries.read(partial(due_users.count_movable, self.check, now=now, policy=policy))

    def move(self, *, at_most: int | None) -> bool:
        """Move due users, longest waiting first, until none is left or `at_most` have moved.

        Returns False if a stop request came first. Raises BatchError, or an error of the database,
        when it cannot go on.
        """
        after: Position | None = None
        while not self.retries.stop.is_set():
            size = self.batch_size if at_most is None else min(self.batch_size, at_most - self.moved)
            if size <= 0:
                return True
            after = self._move_page(after=after, size=size)
            if after is None:
                return True
        return False

    def _move_page(self, *, after: Position | None, size: int) -> Position | None:
        """Move one page. Returns its last position, or None if no due user comes after it."""
        page = due_users.next_page(
            self.check, now=self.context.now, policy=self.context.policy, after=after, size=size
        )
        try:
            users = self._move_batch(page, self.retries)
        except BatchError as error:
            users = error.batch.items
            if not users:
                raise
            self._bisect(users, error)
        return self._position_of(users[-1]) if len(users) == size else None

    def _bisect(self, users: Sequence[DueUser], error: BatchError) -> None:
        bisect_batch(
            [user.user_state.user_id for user in users],
            error,
            attempt=self._move_part,
            on_failure=self._record_failure,
            retries=self.retries,
        )

    def _move_part(self, user_ids: Sequence[UUID], retries: RetryPolicy) -> None:
        """Move those of the users who are still due."""
        users = due_users.still_due(
            self.check, now=self.context.now, policy=self.context.policy, among=user_ids
        )
        self._move_batch(users, retries)

    def _move_batch(self, users: QuerySet[UserEngagementState], retries: RetryPolicy) -> Sequence[DueUser]:
        attempt = partial(move_batch, self.check, users, context=self.context)
        batch = retries.commit(attempt, was_committed=self._was_committed)
        self.moved += batch.moved
        self.progress.moved(self.check, batch.moved)
        return batch.items

    def _was_committed(self, batch: MovedBatch) -> bool:
        user_ids = [user.user_state.user_id for user in batch.items]
        return was_committed(
            transition_id=batch.written_id, user_ids=user_ids, lock_timeout=self.context.lock_timeout
        )

    def _position_of(self, user: DueUser) -> Position:
        return Position(getattr(user.user_state, self.check.due_column), user.user_state.user_id)

    def _record_failure(self, user_id: UUID, error: BaseException) -> None:
        failure = UserFailure(user_id, self.check.name, describe(error))
        self.progress.failed(failure)
        log_user_failed(failure, error)
        self._errors.append(signature_of(error))
        nobody_moved = not self.moved and not self.progress.has_moved(self.check)
        if nobody_moved and len(self._errors) == MAX_SAME_ERRORS and len(set(self._errors)) == 1:
            raise EveryUserFails(MAX_SAME_ERRORS, error)


def check_runs_of(
    request: RunRequest,
    settings: EngagementSettings,
    *,
    stop: StopRequest,
    progress: RunProgress | WorkerProgress,
) -> list[CheckRun]:
    """The checks of a run, to be moved in this process and on its connection."""
    context = BatchContext(
        job_id=request.job_id, now=request.now, policy=settings.policy, lock_timeout=settings.lock_timeout
    )
    retries = RetryPolicy.of(settings, stop=stop)
    return [
        CheckRun(
            check=check,
            context=context,
            retries=retries,
            progress=progress,
            batch_size=request.batch_size or settings.batch_size,
        )
        for check in request.checks_in_order
    ]


def count_skipped(check_runs: Sequence[CheckRun]) -> dict[str, Skipped]:
    """By check: users who would get a goodbye but opted out or have no address.

    A conflict leaves a check uncounted: it must not keep users from being moved.
    """
    skipped = {}
    for check_run in check_runs:
        try:
            skipped[check_run.check.name] = check_run.count_skipped()
        except DatabaseError as error:
            if error_kind(error) is not ErrorKind.CONFLICT:
                raise
            log.warning("engagement_skipped_not_counted", error=describe(error))
    return skipped


def count_due(check_runs: Sequence[CheckRun], *, limit: int | None) -> dict[str, int]:
    """By check: how many users would be moved now, within the limit of the run."""
    due: dict[str, int] = {}
    for check_run in check_runs:
        count = check_run.count_movable()
        due[check_run.check.name] = count if limit is None else min(count, limit - sum(due.values()))
    return due


def move_users(check_runs: Sequence[CheckRun], *, limit: int | None) -> bool:
    """Move the users who are due, check after check. Returns False if a stop request came first.

    Raises BatchError, or an error of the database, when it cannot go on.
    """
    for check_run in check_runs:
        moved = sum(other.moved for other in check_runs)
        at_most = None if limit is None else limit - moved
        if not check_run.move(at_most=at_most):
            return False
        check_run.progress.check_ended()
    return True
