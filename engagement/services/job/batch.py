"""One batch of one check: claim, move, queue, commit. All of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from engagement.models import MessageStatus
from engagement.selectors import due_users, goodbyes
from engagement.selectors.due_users import DueUser
from engagement.services.job.goodbye import goodbye_for
from engagement.services.message_queue import cancel_unanswered, queue_messages
from engagement.services.resilience.transactions import Batch, commit_batch
from engagement.services.state_machine import transition_states
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.states import Check, Policy, UserState

log = structlog.get_logger("engagement")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What all batches of a run have in common."""

    job_id: UUID
    now: datetime
    policy: Policy
    lock_timeout: timedelta


@dataclass(slots=True)
class MovedBatch(Batch[DueUser]):
    """The users whom a batch has claimed, and how many of them it has moved."""

    moved: int = 0


def move_batch(check: Check, users: QuerySet[UserEngagementState], *, context: BatchContext) -> MovedBatch:
    """Claim the users that the locking queryset finds, and move them; returns the committed batch.

    A user who would get a goodbye, but whose key of the day belongs to a cancelled or failed message,
    is claimed and not moved: the next day has another key.
    Transaction: opens one, which must be the outermost, and commits it. The number of statements does
    not depend on the number of users.
    Repeatable: a user who has been moved is not due any more.
    Raises BatchError, with the users claimed so far, from whatever went wrong.
    """
    write = partial(_claim_and_move, check, users, context=context)
    return commit_batch(write, MovedBatch(), lock_timeout=context.lock_timeout)


def _claim_and_move(
    check: Check, users: QuerySet[UserEngagementState], batch: MovedBatch, *, context: BatchContext
) -> None:
    batch.items = claimed = due_users.read_due_users(check, users)
    user_states = [user.user_state for user in claimed]
    details: Mapping[UUID, Mapping[str, str]] = {}
    if check.sends_goodbye and claimed:
        details = _queue_goodbyes(claimed, now=context.now)
        user_states = [user_state for user_state in user_states if user_state.user_id in details]
    elif check.trigger is Trigger.GOODBYE_TIMEOUT and claimed:
        details = _end_waits(user_states)
    transitions = transition_states(
        user_states=user_states,
        trigger=check.trigger,
        now=context.now,
        policy=context.policy,
        job_id=context.job_id,
        details=details,
    )
    batch.moved = len(transitions)
    batch.written_id = transitions[0].id if transitions else None


def _queue_goodbyes(claimed: Sequence[DueUser], *, now: datetime) -> dict[UUID, dict[str, str]]:
    """Queue a goodbye for each user. By user who has one now: what the audit row says of it.

    The insert ignores a key that is taken. A living message that has it is the goodbye of this wait.
    """
    messages = [goodbye_for(user, now=now) for user in claimed]
    queued = queue_messages(messages=messages, now=now)
    if queued.rows == len(claimed):
        return {
            user.user_state.user_id: {"goodbye_message_id": message_id}
            for user, message_id in zip(claimed, queued.ids, strict=True)
        }
    found = goodbyes.goodbyes_with_keys([message.idempotency_key for message in messages])
    living = {
        goodbye.user_id: {"goodbye_message_id": str(goodbye.id)}
        for goodbye in found
        if goodbye.status in goodbyes.LIVING
    }
    if len(living) < len(claimed):
        log.warning("engagement_goodbye_key_taken", users=len(claimed) - len(living))
    return living


def _end_waits(user_states: Sequence[UserState]) -> dict[UUID, dict[str, str]]:
    """Cancel the goodbyes of these waits that are still pending. By user: what the audit row says."""
    found = goodbyes.goodbyes_of_waits(user_states, lock=True)
    details = {
        user_state.user_id: {"goodbye": goodbyes.fate_of(found.get(user_state.user_id)).value}
        for user_state in user_states
    }
    pending = [goodbye for goodbye in found.values() if goodbye.status == MessageStatus.PENDING]
    if pending:
        cancel_unanswered(message_ids=[goodbye.id for goodbye in pending])
    for goodbye in pending:
        details[goodbye.user_id]["cancelled_message_id"] = str(goodbye.id)
    return details
