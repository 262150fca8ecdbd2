"""What the undo of a run reads: the run's transitions, their users as they are now, and what followed.

Ids that are only compared and sent back are text: UUIDs took a sixth of an undo's time in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.postgres import native_times
from engagement.selectors import due_users
from engagement.selectors.audit_log import TIME_ORDERED, transitions_of_run
from engagement.states import Trigger, UserState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime


class RunTransition(NamedTuple):
    """A transition of a run, and the state row of its user as it is now."""

    id: str
    user_id: str
    from_state: str
    to_state: str
    created_at: datetime
    goodbye: str | None
    """Whether the user had been sent the goodbye, if a timeout ended the wait."""
    cancelled_message_id: str | None
    """The goodbye that a timeout cancelled."""
    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None


class UnclaimedTransition(NamedTuple):
    """A transition of a run whose user's state row is deleted, or locked by another session."""

    id: str
    user_id: str
    created_at: datetime
    has_state: bool


def transition_ids_after(job_id: UUID, *, after: str | None, size: int) -> list[str]:
    """The first `size` ids of a run's transitions after the id `after`, in their order.

    PostgreSQL reads and sorts all that are left of the run each time.
    """
    rows = transitions_of_run(job_id)
    if after is not None:
        rows = rows.filter(id__gt=UUID(after))
    return list(rows.order_by("id").values_list(_text("id"), flat=True)[:size])


def transitions_with_states(ids: Collection[str], *, lock: bool) -> list[RunTransition]:
    """These transitions with the state rows of their users.

    With `lock` the state rows are locked, in the order of all writers and in a transaction of the caller's;
    those that another session has locked are missing.
    """
    # Two statements, each with an array: after old statistics PostgreSQL joins them by reading all users.
    transitions = EngagementStateTransition.objects.filter(id__any_of=set(ids)).values_list(
        _text("id"),
        _text("user_id"),
        *("from_state", "to_state", "created_at"),
        *(KT("metadata__goodbye"), KT("metadata__cancelled_message_id")),
    )
    with native_times():
        moved = {user_id: (row_id, user_id, *columns) for row_id, user_id, *columns in transitions}
        rows = due_users.states_of(moved)
        if lock:
            rows = rows.select_for_update(skip_locked=True, no_key=True)
        states = rows.values_list(_text("user_id"), *UserState._fields[1:])
        return [RunTransition(*moved[user_id], *columns) for user_id, *columns in states]


def unclaimed_transitions(ids: Collection[str]) -> list[UnclaimedTransition]:
    """These transitions, whose users `transitions_with_states` did not find."""
    if not ids:
        return []
    state = UserEngagementState.objects.filter(user_id=OuterRef("user_id"))
    rows = EngagementStateTransition.objects.filter(id__any_of=ids).values_list(
        _text("id"), _text("user_id"), "created_at", Exists(state)
    )
    return [UnclaimedTransition(*row) for row in rows]


class LaterTransitions(NamedTuple):
    """What the audit log says about transitions and their users since."""

    undone: set[str]
    """The ids of the users' transitions that were undone."""
    moved_again: set[str]
    """The users who have a later transition that was not undone."""


def later_transitions(transitions: Iterable[RunTransition | UnclaimedTransition]) -> LaterTransitions:
    """What followed these transitions, one for each user, in one statement.

    `created_at` does not order a history: a run may have been as of a later time than what followed it.
    Ids that are ordered by time tell when a row was written; other programs may use other ids.
    """
    by_user = {transition.user_id: transition for transition in transitions}
    others = EngagementStateTransition.objects.filter(user_id__any_of=by_user).exclude(
        id__any_of={transition.id for transition in by_user.values()}
    )
    undone_id = KT("metadata__undone_transition_id")
    rows = others.values_list("id", _text("user_id"), "created_at", "trigger", undone_id)
    undone = {text for *_, trigger, text in rows if trigger == Trigger.RUN_UNDONE and text}

    def was_later(row_id: UUID, user_id: str, created_at: datetime) -> bool:
        first = by_user[user_id]
        return _order_of_writing(row_id, created_at) > _order_of_writing(UUID(first.id), first.created_at)

    moved_again = {
        user_id
        for row_id, user_id, created_at, trigger, _ in rows
        if trigger != Trigger.RUN_UNDONE
        and str(row_id) not in undone
        and was_later(row_id, user_id, created_at)
    }
    return LaterTransitions(undone, moved_again)


def _text(column: str) -> Cast:
    return Cast(column, TextField())


def _order_of_writing(row_id: UUID, created_at: datetime) -> tuple[float, UUID]:
    milliseconds = row_id.int >> 80 if row_id.version == TIME_ORDERED else created_at.timestamp() * 1000
    return milliseconds, row_id
