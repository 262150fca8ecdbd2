"""One batch of one check: claim, move, queue, commit. All of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from engagement.selectors import due_users
from engagement.selectors.due_users import DueUser
from engagement.services.goodbye import goodbye_for
from engagement.services.message_queue import queue_messages
from engagement.services.resilience.transactions import Batch, commit_batch
from engagement.services.state_machine import transition_states

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.states import Check, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What all batches of a run have in common."""

    job_id: UUID
    now: datetime
    policy: Policy
    lock_timeout: timedelta


def move_batch(
    check: Check, users: QuerySet[UserEngagementState], *, context: BatchContext
) -> Batch[DueUser]:
    """Claim the users that the locking queryset finds, and move them; returns the committed batch.

    Transaction: opens one, which must be the outermost, and commits it. The number of statements does
    not depend on the number of users.
    Repeatable: a user who has been moved is not due any more.
    Raises BatchError, with the users claimed so far, from whatever went wrong.
    """
    write = partial(_claim_and_move, check, users, context=context)
    return commit_batch(write, Batch[DueUser](), lock_timeout=context.lock_timeout)


def _claim_and_move(
    check: Check, users: QuerySet[UserEngagementState], batch: Batch[DueUser], *, context: BatchContext
) -> None:
    batch.items = claimed = due_users.read_due_users(check, users)
    if not claimed:
        return
    transitions = transition_states(
        user_states=[user.user_state for user in claimed],
        trigger=check.trigger,
        now=context.now,
        policy=context.policy,
        job_id=context.job_id,
    )
    if check.sends_goodbye:
        queue_messages(messages=[goodbye_for(user, now=context.now) for user in claimed], now=context.now)
    batch.written_id = transitions[0].id
