"""One batch of an undo: look at the moves of a run, lock, take back, commit. All of it, or none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from engagement.models import MessageStatus
from engagement.selectors import audit_log, due_users, user_history
from engagement.services.goodbye import goodbye_idempotency_key
from engagement.services.job.batch import BatchError
from engagement.services.message_queue import cancel_and_free_keys
from engagement.services.resilience.transactions import in_transaction
from engagement.services.state_machine import undo_transitions
from engagement.states import State, Trigger, still_as_left_by

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from engagement.selectors.audit_log import LatestTransition
    from engagement.selectors.user_history import QueuedMessage
    from engagement.states import Transition, UserState


UNSENT: Final = (MessageStatus.PENDING, MessageStatus.CANCELLED)
"""What the sender has not touched. Who wants to undo a run may have cancelled its messages already."""


class NotUndoneReason(StrEnum):
    """Why a move was not taken back."""

    ALREADY_UNDONE = "already_undone"
    MOVED_ON = "moved_on"
    """Something has happened to the user since."""
    GOODBYE_SENT = "goodbye_sent"
    """They have read it: taken back, they would be told goodbye twice."""
    GOODBYE_FAILED = "goodbye_failed"
    """The sender has tried, and may have reached them."""
    IN_USE = "in_use"
    """Another program had the user or the message locked: the next attempt may find them free."""
    DELETED = "deleted"
    """The user has no state row any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoContext:
    """What all batches of an undo have in common."""

    now: datetime
    lock_timeout: timedelta
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoneBatch:
    """What became of a batch of moves."""

    user_ids: Sequence[UUID]
    """Who is back where they were; in a dry run, who would be."""
    messages_cancelled: int
    not_undone: Counter[NotUndoneReason]
    audit_id: UUID | None
    """One of the batch's audit rows, if there are any."""


class UndoBatchError(BatchError):
    """The batch was rolled back, or its commit is in doubt; the cause is `__cause__`."""

    def __init__(self, undone: UndoneBatch | None) -> None:
        super().__init__([])
        self.undone = undone
        """What was written, if only the commit went wrong."""


def undo_batch(moves: Sequence[Transition], *, context: UndoContext) -> UndoneBatch:
    """Take back those of the moves whose users are still exactly as the moves left them.

    Transaction: opens one, which must be the outermost, and commits it. A constant number of
    statements. Rows that others have locked are passed over.
    Repeating: what was undone stays so, and counts as left alone.
    Raises UndoBatchError from whatever went wrong.
    """
    written: list[UndoneBatch] = []
    try:
        in_transaction(lambda: written.append(_undo(moves, context)), lock_timeout=context.lock_timeout)
    except Exception as error:
        raise UndoBatchError(written[0] if written else None) from error
    return written[0]


def _undo(moves: Sequence[Transition], context: UndoContext) -> UndoneBatch:
    claim = _claim(moves, lock=not context.dry_run)
    reasons = [claim.reason_to_leave(move) for move in moves]
    undoing = [move for move, reason in zip(moves, reasons, strict=True) if reason is None]
    messages = [message for move in undoing if (message := claim.goodbye_of(move))]
    audit_id = None
    if undoing and not context.dry_run:
        pairs = [(claim.states[move.user_id], move) for move in undoing]
        audit_id = undo_transitions(undoing=pairs, now=context.now)[0].id
        cancel_and_free_keys(message_ids=[message.id for message in messages])
    return UndoneBatch(
        user_ids=[move.user_id for move in undoing],
        messages_cancelled=sum(message.status == MessageStatus.PENDING for message in messages),
        not_undone=Counter(reason for reason in reasons if reason),
        audit_id=audit_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """How the users of a batch stand, and which rows nobody else is changing."""

    states: Mapping[UUID, UserState]
    """Of the users that nobody else has locked."""
    existing: Collection[UUID]
    latest: Mapping[UUID, LatestTransition]
    undone: Collection[str]
    messages: Mapping[str, QueuedMessage]
    """By key, the goodbyes that the batch's own moves said."""
    unsent: Collection[UUID]
    """Messages that were not sent and that nobody else has locked."""

    def goodbye_of(self, move: Transition) -> QueuedMessage | None:
        return self.messages.get(_goodbye_key(move))

    def reason_to_leave(self, move: Transition) -> NotUndoneReason | None:
        """None if the move can be taken back."""
        if str(move.id) in self.undone:
            return NotUndoneReason.ALREADY_UNDONE
        state = self.states.get(move.user_id)
        if state is None:
            return NotUndoneReason.IN_USE if move.user_id in self.existing else NotUndoneReason.DELETED
        if not still_as_left_by(state, by=move) or not self._is_last(move):
            return NotUndoneReason.MOVED_ON
        message = self.goodbye_of(move)
        return self._reason_of(message) if message else None

    def _is_last(self, move: Transition) -> bool:
        """Whether nothing came after the move, unless that was undone and led back to it."""
        latest = self.latest[move.user_id]
        return latest.id == move.id or latest.trigger == Trigger.RUN_UNDONE

    def _reason_of(self, message: QueuedMessage) -> NotUndoneReason | None:
        if message.sent_at or message.status == MessageStatus.SENT:
            return NotUndoneReason.GOODBYE_SENT
        if message.status == MessageStatus.FAILED:
            return NotUndoneReason.GOODBYE_FAILED
        return None if message.id in self.unsent else NotUndoneReason.IN_USE


def _claim(moves: Sequence[Transition], *, lock: bool) -> _Claim:
    """Read all there is to know of the moves' users, the locked rows first: what is read then holds."""
    user_ids = [move.user_id for move in moves]
    rows = due_users.states_of(user_ids)
    claimed = rows.select_for_update(skip_locked=True, no_key=True) if lock else rows
    states = {state.user_id: state for state in due_users.read_user_states(claimed)}
    # Of the claimed users alone: whoever undoes the others must find their messages free.
    goodbyes = [move for move in moves if _sends_goodbye(move) and move.user_id in states]
    messages = user_history.messages_of([_goodbye_key(move) for move in goodbyes])
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


def _sends_goodbye(move: Transition) -> bool:
    return move.to_state == State.GOODBYE_SENT


def _goodbye_key(move: Transition) -> str:
    return goodbye_idempotency_key(move.user_id, now=move.created_at)
