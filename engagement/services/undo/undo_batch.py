"""One batch of an undo: lock, look, undo, commit. All of it or nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from django.db.models import Q

from engagement.models import MessageStatus
from engagement.selectors import audit_log, due_users
from engagement.selectors.goodbyes import Goodbye, free_goodbyes, goodbye_key, goodbyes_with_keys
from engagement.services.message_queue import WAIT_OVER, cancel_and_free_keys, revive_unanswered
from engagement.services.resilience.transactions import Batch, commit_batch
from engagement.services.state_machine import undo_transitions
from engagement.services.undo.undo_result import NotUndoneReason
from engagement.states import State, Transition, still_as_left_by

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from engagement.states import UserState


_REASONS: Final = {
    MessageStatus.SENDING: NotUndoneReason.GOODBYE_IN_HAND,
    MessageStatus.UNKNOWN: NotUndoneReason.GOODBYE_UNKNOWN,
    MessageStatus.SENT: NotUndoneReason.GOODBYE_SENT,
}
"""Why the transition of a goodbye that a sender has tried is not undone, by status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoContext:
    """What all batches of an undo have in common."""

    now: datetime
    lock_timeout: timedelta
    dry_run: bool
    performed_by: str | None = None


@dataclass(slots=True)
class UndoneBatch(Batch[Transition]):
    """What one batch has undone; in a dry run, what it would undo."""

    undone: Sequence[UUID] = ()
    """The users who are back where they were."""
    messages_cancelled: int = 0
    not_undone: Counter[NotUndoneReason] = field(default_factory=Counter)


def undo_batch(transitions: Sequence[Transition], *, context: UndoContext) -> UndoneBatch:
    """Undo those of the transitions whose users are still exactly as they left them.

    Transaction: opens one, which must be the outermost, and commits it. The number of statements does
    not depend on the number of transitions. Rows that others have locked are skipped.
    Repeatable: an undone transition stays undone, and counts as not undone again.
    Raises BatchError from whatever went wrong.
    """
    write = partial(_undo, context=context)
    return commit_batch(write, UndoneBatch(items=transitions), lock_timeout=context.lock_timeout)


def _undo(batch: UndoneBatch, *, context: UndoContext) -> None:
    claim = _claim(batch.items, lock=not context.dry_run)
    reasons = [claim.reason_not_to_undo(transition) for transition in batch.items]
    undoing = [transition for transition, reason in zip(batch.items, reasons, strict=True) if reason is None]
    messages = [message for transition in undoing if (message := claim.goodbye_of(transition))]
    batch.undone = [transition.user_id for transition in undoing]
    batch.messages_cancelled = sum(message.status == MessageStatus.PENDING for message in messages)
    batch.not_undone = Counter(reason for reason in reasons if reason)
    if undoing and not context.dry_run:
        pairs = [(claim.states[transition.user_id], transition) for transition in undoing]
        written = undo_transitions(undoing=pairs, now=context.now, performed_by=context.performed_by)
        cancel_and_free_keys(message_ids={message.id for message in messages})
        if revived := [UUID(text) for text in map(_cancelled_id, undoing) if text]:
            revive_unanswered(message_ids=revived)
        batch.written_id = written[0].id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What is known of the users of a batch, and which rows no other session is changing."""

    states: Mapping[UUID, UserState]
    """Of the users whom no other session has locked."""
    in_use: Collection[UUID]
    """Users whom another session has locked."""
    later: audit_log.LaterTransitions
    goodbyes: Mapping[UUID, Goodbye]
    """By user: the goodbye that the transition queued."""
    free: Collection[UUID]
    """Those of them that are pending or cancelled, and that no other session has locked."""
    revivable: Collection[str]
    """Former goodbyes that a timeout cancelled and nothing has changed since, as text."""

    def goodbye_of(self, transition: Transition) -> Goodbye | None:
        return self.goodbyes.get(transition.user_id)

    def reason_not_to_undo(self, transition: Transition) -> NotUndoneReason | None:
        """None if the transition can be undone."""
        if str(transition.id) in self.later.undone:
            return NotUndoneReason.ALREADY_UNDONE
        state = self.states.get(transition.user_id)
        if state is None:
            return NotUndoneReason.IN_USE if transition.user_id in self.in_use else NotUndoneReason.DELETED
        if not still_as_left_by(state, by=transition) or transition.user_id in self.later.moved_again:
            return NotUndoneReason.MOVED_ON
        cancelled_id = _cancelled_id(transition)
        if cancelled_id and cancelled_id not in self.revivable:
            return NotUndoneReason.MOVED_ON
        goodbye = self.goodbye_of(transition)
        return self._reason_of(goodbye) if goodbye else None

    def _reason_of(self, goodbye: Goodbye) -> NotUndoneReason | None:
        if goodbye.was_tried:
            sent = NotUndoneReason.GOODBYE_SENT if goodbye.sent_at else NotUndoneReason.GOODBYE_FAILED
            return _REASONS.get(MessageStatus(goodbye.status), sent)
        return None if goodbye.id in self.free else NotUndoneReason.IN_USE


def _claim(transitions: Sequence[Transition], *, lock: bool) -> _Claim:
    """Read what is known of the users. Locked rows come first, so that what is read next stays true."""
    user_ids = {transition.user_id for transition in transitions}
    rows = due_users.states_of(user_ids)
    claimed = rows.select_for_update(skip_locked=True, no_key=True) if lock else rows
    states = {state.user_id: state for state in due_users.read_user_states(claimed)}
    # Of the claimed users alone: a concurrent undo of the others must find their messages unlocked.
    ours = [transition for transition in transitions if transition.user_id in states]
    keys = {
        goodbye_key(transition.user_id, now=transition.created_at): transition.user_id
        for transition in ours
        if transition.to_state == State.GOODBYE_SENT
    }
    cancelled = {text for text in map(_cancelled_id, ours) if text}
    free = free_goodbyes(Q(idempotency_key__any_of=keys.keys()), lock=lock)
    others = goodbyes_with_keys(keys.keys() - {goodbye.idempotency_key for goodbye in free})
    revivable = free_goodbyes(Q(pk__any_of=cancelled, outcome_reason=WAIT_OVER), lock=lock)
    return _Claim(
        states=states,
        free={goodbye.id for goodbye in free},
        in_use=_existing(user_ids - states.keys()),
        later=audit_log.later_transitions(transitions),
        goodbyes={keys[goodbye.idempotency_key]: goodbye for goodbye in (*free, *others)},
        revivable={str(goodbye.id) for goodbye in revivable},
    )


def _existing(user_ids: Collection[UUID]) -> Collection[UUID]:
    return set(due_users.states_of(user_ids).values_list("user_id", flat=True)) if user_ids else ()


def _cancelled_id(transition: Transition) -> str | None:
    """The goodbye that a timeout cancelled, as its audit row says."""
    return cast("str | None", transition.metadata.get("cancelled_message_id"))
