"""One batch of an undo: lock, look, undo, commit. All of it or nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.db.models import Q

from engagement.models import MessageStatus
from engagement.selectors import run_transitions
from engagement.selectors.goodbyes import Goodbye, free_goodbyes, goodbye_key, goodbyes_with_keys
from engagement.services.message_queue import WAIT_OVER, cancel_and_free_keys, revive_unanswered
from engagement.services.resilience.transactions import Batch, commit_batch
from engagement.services.state_machine import undo_transitions
from engagement.services.undo.undo_result import NotUndoneReason
from engagement.states import State, require_aware, still_as_left

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from engagement.selectors.run_transitions import LaterTransitions, RunTransition, UnclaimedTransition


_REASONS: Final = {
    MessageStatus.SENDING: NotUndoneReason.GOODBYE_IN_HAND,
    MessageStatus.UNKNOWN: NotUndoneReason.GOODBYE_UNKNOWN,
    MessageStatus.SENT: NotUndoneReason.GOODBYE_SENT,
}
"""Why the transition of a goodbye that a sender has tried is not undone, by status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRequest:
    """What is asked of an undo."""

    job_id: UUID
    """The run to undo."""
    now: datetime
    dry_run: bool = False
    performed_by: str | None = None
    """The staff account that undoes the run; the audit rows name it."""

    def __post_init__(self) -> None:
        """Raise ValueError for a naive `now`."""
        require_aware(self.now)


@dataclass(slots=True)
class UndoneBatch(Batch[str]):
    """What one batch has undone; in a dry run, what it would undo. Its items are ids of transitions."""

    undone: Sequence[str] = ()
    """The users who are back where they were."""
    messages_cancelled: int = 0
    not_undone: Counter[NotUndoneReason] = field(default_factory=Counter)


def undo_batch(
    transition_ids: Sequence[str], *, request: UndoRequest, lock_timeout: timedelta
) -> UndoneBatch:
    """Undo those of the transitions whose users are still exactly as they left them.

    Transaction: opens one, which must be the outermost, and commits it. The number of statements does
    not depend on the number of transitions. Rows that others have locked are skipped.
    Repeatable: an undone transition stays undone, and counts as not undone again.
    Raises BatchError from whatever went wrong.
    """
    write = partial(_undo, request=request)
    return commit_batch(write, UndoneBatch(items=transition_ids), lock_timeout=lock_timeout)


def _undo(batch: UndoneBatch, *, request: UndoRequest) -> None:
    claim = _claim(batch.items, lock=not request.dry_run)
    reasons = [claim.reason_not_to_undo(transition) for transition in claim.transitions]
    undoing = [move for move, reason in zip(claim.transitions, reasons, strict=True) if reason is None]
    messages = [message for move in undoing if (message := claim.goodbyes.get(move.user_id))]
    batch.undone = [move.user_id for move in undoing]
    batch.messages_cancelled = sum(message.status == MessageStatus.PENDING for message in messages)
    batch.not_undone = Counter(reason for reason in reasons if reason)
    batch.not_undone.update(map(claim.reason_not_claimed, claim.unclaimed))
    # Their ids were read earlier.
    erased = len(batch.items) - len(claim.transitions) - len(claim.unclaimed)
    batch.not_undone.update([NotUndoneReason.DELETED] * erased)
    if undoing and not request.dry_run:
        written = undo_transitions(
            undoing=undoing, job_id=request.job_id, now=request.now, performed_by=request.performed_by
        )
        cancel_and_free_keys(message_ids={message.id for message in messages})
        if revived := [UUID(move.cancelled_message_id) for move in undoing if move.cancelled_message_id]:
            revive_unanswered(message_ids=revived)
        batch.written_id = written[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What is known of the users of a batch, and which rows no other session is changing."""

    transitions: Sequence[RunTransition]
    """Of the users whom no other session has locked."""
    unclaimed: Sequence[UnclaimedTransition]
    later: LaterTransitions
    goodbyes: Mapping[str, Goodbye]
    """By user: the goodbye that the transition queued."""
    free: Collection[UUID]
    """Those of them that are pending or cancelled, and that no other session has locked."""
    revivable: Collection[str]
    """Former goodbyes that a timeout cancelled and nothing has changed since, as text."""

    def reason_not_claimed(self, transition: UnclaimedTransition) -> NotUndoneReason:
        if transition.id in self.later.undone:
            return NotUndoneReason.ALREADY_UNDONE
        return NotUndoneReason.IN_USE if transition.has_state else NotUndoneReason.DELETED

    def reason_not_to_undo(self, move: RunTransition) -> NotUndoneReason | None:
        """None if the transition can be undone."""
        if move.id in self.later.undone:
            return NotUndoneReason.ALREADY_UNDONE
        if (
            not still_as_left(move, in_state=move.to_state, at=move.created_at)
            or move.user_id in self.later.moved_again
            or (move.cancelled_message_id and move.cancelled_message_id not in self.revivable)
        ):
            return NotUndoneReason.MOVED_ON
        if move.to_state != State.GOODBYE_SENT:
            return None
        goodbye = self.goodbyes.get(move.user_id)
        # Without a row, a sender may have deleted what it sent.
        return self._reason_of(goodbye) if goodbye else NotUndoneReason.GOODBYE_UNKNOWN

    def _reason_of(self, goodbye: Goodbye) -> NotUndoneReason | None:
        if goodbye.was_tried:
            sent = NotUndoneReason.GOODBYE_SENT if goodbye.sent_at else NotUndoneReason.GOODBYE_FAILED
            return _REASONS.get(MessageStatus(goodbye.status), sent)
        return None if goodbye.id in self.free else NotUndoneReason.IN_USE


def _claim(transition_ids: Sequence[str], *, lock: bool) -> _Claim:
    """Read what is known of the users. Locked rows come first, so that what is read next stays true."""
    transitions = run_transitions.transitions_with_states(transition_ids, lock=lock)
    missing = set(transition_ids) - {move.id for move in transitions}
    unclaimed = run_transitions.unclaimed_transitions(missing)
    # Of the claimed users alone: a concurrent undo of the others must find their messages unlocked.
    keys = {
        goodbye_key(move.user_id, now=move.created_at): move.user_id
        for move in transitions
        if move.to_state == State.GOODBYE_SENT
    }
    cancelled = {move.cancelled_message_id for move in transitions if move.cancelled_message_id}
    free = free_goodbyes(Q(idempotency_key__any_of=keys.keys()), lock=lock)
    others = goodbyes_with_keys(keys.keys() - {goodbye.idempotency_key for goodbye in free})
    revivable = free_goodbyes(Q(pk__any_of=cancelled, outcome_reason=WAIT_OVER), lock=lock)
    return _Claim(
        transitions=transitions,
        unclaimed=unclaimed,
        later=run_transitions.later_transitions([*transitions, *unclaimed]),
        goodbyes={keys[goodbye.idempotency_key]: goodbye for goodbye in (*free, *others)},
        free={goodbye.id for goodbye in free},
        revivable={str(goodbye.id) for goodbye in revivable},
    )
