"""One batch: claim, move, queue, commit. All of it, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from engagement.selectors import audit_log, due_users
from engagement.services.goodbye import goodbye_for
from engagement.services.message_queue import queue_messages
from engagement.services.resilience.transactions import in_transaction
from engagement.services.state_machine import transition_states

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.selectors.due_users import DueUser
    from engagement.states import Check, Policy


T = TypeVar("T")


class BatchError(Exception):
    """The batch was rolled back, or its commit is in doubt; the cause is `__cause__`."""

    def __init__(self, users: Sequence[DueUser], *, audit_id: UUID | None = None) -> None:
        super().__init__(f"A batch of {len(users)} claimed users failed.")
        self.users = users
        self.audit_id = audit_id
        """One of the batch's audit rows, where all was written and only the commit went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What all batches of a run have in common."""

    job_id: UUID
    now: datetime
    policy: Policy
    lock_timeout: timedelta


def move_batch(check: Check, users: QuerySet[UserEngagementState], *, context: BatchContext) -> list[DueUser]:
    """Claim the users that the locking queryset finds, and move them; returns them.

    Transaction: opens one, which must be the outermost, and commits it. A constant number of
    statements, however many users there are.
    Repeating: whoever has been moved is not due any more.
    Raises BatchError, with the users claimed so far, from whatever went wrong.
    """
    claimed: list[DueUser] = []
    audit_id = None

    def claim_and_move() -> None:
        nonlocal claimed, audit_id
        claimed = due_users.read_due_users(check, users)
        if claimed:
            audit_id = _move(check, claimed, context=context)

    try:
        in_transaction(claim_and_move, lock_timeout=context.lock_timeout)
    except Exception as error:
        raise BatchError(claimed, audit_id=audit_id) from error
    return claimed


def was_committed(audit_id: UUID | None, *, user_ids: Collection[UUID], lock_timeout: timedelta) -> bool:
    """Whether a batch in doubt, whose connection broke at its commit, was carried out: whole, or not at all.

    `audit_id` is one of its audit rows, `user_ids` are those whom it moved.
    Transaction: opens one, which must be the outermost, and waits in it for who has the users locked.
    """

    def ask() -> bool:
        # The session that was cut off may still be committing; it holds the rows until it is done.
        due_users.wait_for_states(user_ids)
        # Not by user: somebody else may have moved them since.
        return audit_log.is_in_audit_log(audit_id)

    return in_transaction(ask, lock_timeout=lock_timeout)


def _move(check: Check, claimed: Sequence[DueUser], *, context: BatchContext) -> UUID:
    """Move the claimed users and queue what they are to be sent; the id of one of the audit rows."""
    transitions = transition_states(
        user_states=[user.user_state for user in claimed],
        trigger=check.trigger,
        now=context.now,
        policy=context.policy,
        job_id=context.job_id,
    )
    if check.sends_goodbye:
        queue_messages(messages=[goodbye_for(user, now=context.now) for user in claimed], now=context.now)
    return transitions[0].id
