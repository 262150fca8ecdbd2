"""One batch of an undo: lock, look, undo, commit. All of it or nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from engagement.models import MessageStatus
from engagement.selectors import audit_log, due_users, user_history
from engagement.services.goodbye import goodbye_idempotency_key
from engagement.services.message_queue import cancel_and_free_keys
from engagement.services.resilience.transactions import Batch, commit_batch
from engagement.services.state_machine import undo_transitions
from engagement.services.undo.undo_result import NotUndoneReason
from engagement.states import State, Transition, Trigger, still_as_left_by

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from engagement.selectors.audit_log import LatestTransition
    from engagement.selectors.user_history import QueuedMessage
    from engagement.states import UserState


UNSENT: Final = (MessageStatus.PENDING, MessageStatus.CANCELLED)
"""The statuses of messages that the sender has not tried. Support may have cancelled them already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoContext:
    """What all batches of an undo have in common."""

    now: datetime
    lock_timeout: timedelta
    dry_run: bool


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
        written = undo_transitions(undoing=pairs, now=context.now)
        cancel_and_free_keys(message_ids=[message.id for message in messages])
        batch.written_id = written[0].id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What is known of the users of a batch, and which rows no other session is changing."""

    states: Mapping[UUID, UserState]
    """Of the users whom no other session has locked."""
    existing: Collection[UUID]
    latest: Mapping[UUID, LatestTransition]
    undone: Collection[str]
    messages: Mapping[str, QueuedMessage]
    """By key: the goodbyes of the batch's own transitions."""
    unsent: Collection[UUID]
    """Messages that were not sent and that no other session has locked."""

    def goodbye_of(self, transition: Transition) -> QueuedMessage | None:
        return self.messages.get(_goodbye_key(transition))

    def reason_not_to_undo(self, transition: Transition) -> NotUndoneReason | None:
        """None if the transition can be undone."""
        if str(transition.id) in self.undone:
            return NotUndoneReason.ALREADY_UNDONE
        state = self.states.get(transition.user_id)
        if state is None:
            return NotUndoneReason.IN_USE if transition.user_id in self.existing else NotUndoneReason.DELETED
        if not still_as_left_by(state, by=transition) or not self._is_last(transition):
            return NotUndoneReason.MOVED_ON
        message = self.goodbye_of(transition)
        return self._reason_of(message) if message else None

    def _is_last(self, transition: Transition) -> bool:
        """Whether the transition is the latest, or what came after it was undone."""
        latest = self.latest[transition.user_id]
        return latest.id == transition.id or latest.trigger == Trigger.RUN_UNDONE

    def _reason_of(self, message: QueuedMessage) -> NotUndoneReason | None:
        if message.sent_at or message.status == MessageStatus.SENT:
            return NotUndoneReason.GOODBYE_SENT
        if message.status == MessageStatus.FAILED:
            return NotUndoneReason.GOODBYE_FAILED
        return None if message.id in self.unsent else NotUndoneReason.IN_USE


def _claim(transitions: Sequence[Transition], *, lock: bool) -> _Claim:
    """Read what is known of the users. Locked rows come first, so that what is read next stays true."""
    user_ids = [transition.user_id for transition in transitions]
    rows = due_users.states_of(user_ids)
    claimed = rows.select_for_update(skip_locked=True, no_key=True) if lock else rows
    states = {state.user_id: state for state in due_users.read_user_states(claimed)}
    # Of the claimed users alone: a concurrent undo of the others must find their messages unlocked.
    keys = [
        _goodbye_key(transition)
        for transition in transitions
        if transition.to_state == State.GOODBYE_SENT and transition.user_id in states
    ]
    messages = user_history.messages_of(keys)
    unsent = messages.filter(status__in=UNSENT, sent_at=None)
    free = unsent.select_for_update(skip_locked=True, no_key=True) if lock else unsent
    return _Claim(
        states=states,
        unsent={message.id for message in user_history.read_queued(free)},
        existing=set(rows.values_list("user_id", flat=True)),
        latest=audit_log.latest_transitions(user_ids),
        undone=audit_log.undone_transition_ids(user_ids),
        messages={message.idempotency_key: message for message in user_history.read_queued(messages)},
    )


def _goodbye_key(transition: Transition) -> str:
    return goodbye_idempotency_key(transition.user_id, now=transition.created_at)
