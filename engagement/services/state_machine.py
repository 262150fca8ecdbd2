"""Moves users by the table in `states.py`. Nothing else writes states and the audit log, but erasure."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.db.transaction import TransactionManagementError
from uuid_utils.compat import uuid7

from engagement.conf import engagement_settings
from engagement.models import UserEngagementState, UserProfile
from engagement.postgres import TextArray
from engagement.selectors import audit_log, due_users
from engagement.services.arguments import as_user_id, require_storable
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.resilience.transactions import in_transaction
from engagement.states import (
    ANY_POLICY,
    OPERATOR,
    TARGETS,
    Policy,
    State,
    Transition,
    Trigger,
    UserState,
    next_state,
    require_aware,
    timestamps_on_entering,
    transition_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from engagement.selectors.run_transitions import RunTransition
    from engagement.states import ReceivedMessage


class EngagementStateNotFound(Exception):
    """The user has no state row, and the trigger is not one that creates it."""

    def __init__(self, user_ids: Collection[UUID]) -> None:
        super().__init__(f"No engagement state for {', '.join(map(str, sorted(user_ids)))}.")
        self.user_ids = frozenset(user_ids)


class StaleUserStates(Exception):
    """The rows are not as they were read: they were not locked, or were changed since."""


@retry_own_transaction
def transition_state(
    *,
    user_id: UUID | str,
    trigger: Trigger,
    now: datetime,
    policy: Policy | None = None,
    job_id: UUID | None = None,
) -> Transition | None:
    """Move one user, or record that an active user wrote. Returns the transition, if there was one.

    Transaction: opens one, or joins the caller's; waits for the state row and keeps it locked.
    Repeatable for `user_message` only: after any other trigger the user is in another state, and
    a second call raises InvalidTransition.
    Time: `now` is when it happened; for `user_message` it becomes `last_activity_at` if it is later.
    Raises InvalidTransition for a trigger without a transition from the user's state,
    EngagementStateNotFound for a user without a state row (for `user_message`, without a profile),
    ValueError for an unknown trigger, an id that is no UUID, and a `now` that is naive or not from 1970 to
    2999. Changes nothing then.
    """
    with transaction.atomic():
        user_states = lock_states(user_ids=[user_id], trigger=trigger, now=now)
        transitions = transition_states(
            user_states=user_states,
            trigger=trigger,
            now=now,
            policy=policy or engagement_settings().policy,
            job_id=job_id,
        )
    return transitions[0] if transitions else None


def lock_states(*, user_ids: Collection[UUID | str], trigger: Trigger, now: datetime) -> list[UserState]:
    """Lock users' state rows for `trigger` and read them, in the order of their ids.

    Transaction: needs the caller's, and the rows stay locked until it ends. Waits for locks. Repeatable.
    For `user_message` a user who has a profile but no state row gets one, active since `now`.
    Raises EngagementStateNotFound if any row is missing; ValueError as `transition_state` does.
    """
    require_storable(now)
    trigger, wanted = Trigger(trigger), set(map(as_user_id, user_ids))
    found = due_users.lock_states_of(wanted)
    missing = wanted - {user_state.user_id for user_state in found}
    if missing and trigger is Trigger.USER_MESSAGE:
        _create_states(missing, now=now)
        found = due_users.lock_states_of(wanted)
        missing = wanted - {user_state.user_id for user_state in found}
    if missing:
        raise EngagementStateNotFound(missing)
    return found


def transition_states(  # noqa: PLR0913  each says something else about the transitions
    *,
    user_states: Sequence[UserState],
    trigger: Trigger,
    now: datetime,
    policy: Policy,
    job_id: UUID | None = None,
    message: ReceivedMessage | None = None,
    heard_at: datetime | None = None,
    performed_by: str | None = None,
    details: Mapping[UUID, Mapping[str, str]] | None = None,
) -> list[Transition]:
    """Move many users by the same rules, in a constant number of statements; returns the transitions.

    Transaction: needs the caller's, in which `user_states` were read and locked: by `lock_states`,
    or by the daily job's claim. All users are moved or none.
    Not repeatable with the same `user_states`: that raises StaleUserStates.
    A `user_message` does not move an active user; it sets `last_activity_at`, forward only, to `heard_at`,
    by default `now`. The audit rows name the `message` that caused the transition, and
    `performed_by`, the person who acted for the user; `details` has more to say in them, by user.
    Raises InvalidTransition, before anything is written, if the trigger has no transition for one of
    them; TransactionManagementError without a transaction; ValueError for a naive `now`.
    """
    require_aware(now)
    _require_transaction("transition_states()")
    trigger = Trigger(trigger)
    if not user_states:
        return []
    moving = _moving(user_states, trigger)
    _write_states(user_states, trigger=trigger, now=now, heard_at=heard_at or now, policy=policy)
    # A user whom a person marked as active has not returned unprompted.
    since = {} if performed_by else _dormant_since(moving, trigger=trigger)
    origin = _origin(job_id=job_id, performed_by=performed_by)
    about = partial(transition_metadata, trigger=trigger, now=now, policy=policy, message=message)
    target, cause, details = TARGETS[trigger].value, trigger.value, details or {}
    transitions = [
        Transition(
            uuid7(),
            user_state.user_id,
            user_state.state,
            target,
            cause,
            {
                **about(user_state, dormant_since=since.get(user_state.user_id)),
                **origin,
                **details.get(user_state.user_id, {}),
            },
            now,
        )
        for user_state in moving
    ]
    _write_audit_log(transitions)
    return transitions


def extend_wait(*, user_id: UUID, until: datetime) -> None:
    """Let a user's wait for an answer last at least until then.

    The wait begins when the user is told: the sender calls this when it claims a goodbye, and when the
    goodbye is delivered. It writes no audit row.
    Transaction: needs the caller's, in which the state row was locked. Repeatable.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EXTEND_WAIT, {"user_id": user_id, "until": until})


def undo_transitions(
    *, undoing: Sequence[RunTransition], job_id: UUID, now: datetime, performed_by: str | None = None
) -> list[UUID]:
    """Undo transitions of a run, in two statements; returns the ids of the new audit rows, in their order.

    Each user goes back to the state and the timestamps that the audit row of their transition holds.
    The caller checks that nothing has happened to them since. The audit rows name `performed_by`.
    Transaction: needs the caller's, in which the states were read and locked. All go back or none.
    Not repeatable with the same states: that raises StaleUserStates.
    Raises TransactionManagementError without a transaction; ValueError for a naive `now`; DataError if an
    audit row does not hold times; IntegrityError if it lacks one that the former state needs.
    """
    require_aware(now)
    _require_transaction("undo_transitions()")
    _restore_states(undoing, now=now)
    # Not under the key job_id: the undoing must not count as a transition of the run.
    origin = {"undone_job_id": str(job_id), **_origin(job_id=None, performed_by=performed_by)}

    def about(move: RunTransition) -> dict[str, object]:
        metadata = transition_metadata(move, Trigger.RUN_UNDONE, now=now, policy=ANY_POLICY)
        goodbye = {"goodbye": move.goodbye} if move.goodbye else {}
        return {**metadata, "undone_transition_id": move.id, **goodbye, **origin}

    cause = Trigger.RUN_UNDONE.value
    rows = [
        (uuid7(), move.user_id, move.to_state, move.from_state, cause, about(move), now) for move in undoing
    ]
    _write_audit_log(rows)
    return [row_id for row_id, *_ in rows]


def was_committed(*, transition_id: UUID | None, user_ids: Collection[UUID], lock_timeout: timedelta) -> bool:
    """Whether the transaction that wrote this audit row, and moved these users, was committed.

    Transaction: opens one, in which it waits for sessions that have the users locked: the one whose
    connection broke may still be committing. Repeatable.
    """

    def ask() -> bool:
        due_users.lock_states_of(user_ids)
        # Not by state: another program may have moved the users since.
        return transition_id is not None and audit_log.transition_with_id(transition_id) is not None

    return in_transaction(ask, lock_timeout=lock_timeout)


def _require_transaction(caller: str) -> None:
    if not connection.in_atomic_block:
        raise TransactionManagementError(f"{caller} needs the transaction that locked the rows.")


def _create_states(user_ids: Collection[UUID], *, now: datetime) -> None:
    # Locked, so that a user who is being erased is known before the row refers to them.
    profiles = UserProfile.objects.filter(user_id__any_of=user_ids).order_by("user_id")
    known = profiles.select_for_update(no_key=True).values_list("user_id", flat=True)
    # Another session may be creating the same row, which is as good.
    times = dict.fromkeys(("last_activity_at", "created_at", "updated_at"), now)
    rows = [UserEngagementState(user_id=user_id, **times) for user_id in known]
    UserEngagementState.objects.bulk_create(rows, ignore_conflicts=True)


def _moving(user_states: Sequence[UserState], trigger: Trigger) -> list[UserState]:
    """Those whom the trigger moves. Thousands of users are in few states: each state is asked once."""
    one_of_each = {user_state.state: user_state for user_state in user_states}
    moved = {state for state, user_state in one_of_each.items() if next_state(user_state, trigger)}
    return [user_state for user_state in user_states if user_state.state in moved]


def _write_states(
    user_states: Sequence[UserState],
    *,
    trigger: Trigger,
    now: datetime,
    heard_at: datetime,
    policy: Policy,
) -> None:
    target = TARGETS[trigger]
    changes: dict[str, object] = {
        "state": target,
        "updated_at": now,
        **timestamps_on_entering(target, now=now, policy=policy),
    }
    if trigger is Trigger.USER_MESSAGE:
        changes["last_activity_at"] = Greatest(F("last_activity_at"), heard_at)
    rows = UserEngagementState.objects.filter(
        user_id__any_of={user_state.user_id for user_state in user_states},
        state__in={user_state.state for user_state in user_states},
    )
    if rows.update(**changes) != len(user_states):
        raise StaleUserStates


def _dormant_since(moving: Sequence[UserState], *, trigger: Trigger) -> Mapping[UUID, datetime]:
    """When the dormant users among `moving` became dormant.

    The audit log does not know it of users whom another program made dormant: their silence counts.
    """
    if trigger is not Trigger.USER_MESSAGE:
        return {}
    silent_since = {
        user_state.user_id: user_state.last_activity_at
        for user_state in moving
        if user_state.state == State.DORMANT
    }
    return silent_since | audit_log.dormant_since(silent_since) if silent_since else {}


_EXTEND_WAIT: Final = """
    UPDATE user_engagement_states
    SET goodbye_expires_at = %(until)s
    WHERE user_id = %(user_id)s AND state = 'goodbye_sent' AND goodbye_expires_at < %(until)s
"""
# The audit row by its key alone: after old statistics PostgreSQL joins the tables by reading all users.
_RESTORE_STATES: Final = """
    UPDATE user_engagement_states AS states
    SET (state, goodbye_sent_at, goodbye_expires_at, remind_at) = (
            SELECT
                from_state,
                (metadata #>> '{former_timestamps,goodbye_sent_at}')::timestamptz,
                (metadata #>> '{former_timestamps,goodbye_expires_at}')::timestamptz,
                (metadata #>> '{former_timestamps,remind_at}')::timestamptz
            FROM engagement_state_transitions
            WHERE id = undone.id
        ),
        updated_at = %s
    FROM ROWS FROM (
        unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::text[])
    ) AS undone (id, user_id, left_in)
    WHERE states.user_id = undone.user_id AND states.state = undone.left_in
"""


def _restore_states(undoing: Sequence[RunTransition], *, now: datetime) -> None:
    with connection.cursor() as cursor:
        columns = (
            TextArray(move.id for move in undoing),
            TextArray(move.user_id for move in undoing),
            TextArray(move.to_state for move in undoing),
        )
        cursor.execute(_RESTORE_STATES, [now, *columns])
        if cursor.rowcount != len(undoing):
            raise StaleUserStates


def _origin(*, job_id: UUID | None, performed_by: str | None) -> Mapping[str, str]:
    """The run or person behind a transition, for its audit row."""
    run = {"job_id": str(job_id)} if job_id else {}
    return run | ({"performed_by": performed_by, "trigger_source": OPERATOR} if performed_by else {})


# One array per column that differs from row to row. bulk_create adapts every value of every row, which
# takes eight times as long.
_INSERT_TRANSITIONS: Final = """
    INSERT INTO engagement_state_transitions
        (id, user_id, from_state, to_state, trigger, metadata, created_at)
    SELECT id, user_id, from_state, to_state, %s, metadata, %s
    FROM ROWS FROM (
        unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::text[]), unnest(%s::text[]),
        jsonb_array_elements(%s::jsonb)
    ) AS moved (id, user_id, from_state, to_state, metadata)
"""


def _write_audit_log(
    transitions: Sequence[tuple[UUID, UUID | str, str, str, str, Mapping[str, object], datetime]],
) -> None:
    """Write transitions that have one trigger and one time."""
    if not transitions:
        return
    ids, user_ids, from_states, to_states, (trigger, *_), metadata, (now, *_) = zip(*transitions, strict=True)
    columns = (map(str, ids), map(str, user_ids), from_states, to_states)
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_TRANSITIONS, [trigger, now, *map(TextArray, columns), json.dumps(metadata)])
