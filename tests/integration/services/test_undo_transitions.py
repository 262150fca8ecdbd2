"""Taking moves and messages back against PostgreSQL: what is stored, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.services.message_queue import cancel_and_free_keys
from engagement.services.state_machine import (
    StaleUserStates,
    lock_states,
    transition_states,
    undo_transitions,
)
from engagement.states import InvalidTransition, Policy, Transition, Trigger
from tests.factories import NOW, make_user, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from engagement.states import UserState

pytestmark = pytest.mark.django_db

LATER: Final = NOW + timedelta(hours=2)


def moved_by_a_run() -> list[tuple[UserState, Transition]]:
    """Run the job; everybody whom it moved, locked, and their move."""
    run_job()
    rows = EngagementStateTransition.objects.order_by("user_id").values_list(*Transition._fields)
    moves = [Transition(*row) for row in rows]
    ids = [move.user_id for move in moves]
    states = lock_states(user_ids=ids, trigger=Trigger.RUN_UNDONE, now=NOW)
    return list(zip(states, moves, strict=True))


@pytest.mark.parametrize("trait", ["silent", "goodbye_sent", "remind_later"])
def test_users_stand_where_they_stood(trait: str) -> None:
    make_users(3, trait)
    before = list(UserEngagementState.objects.order_by("pk").values())
    moves_back = undo_transitions(undoing=moved_by_a_run(), now=LATER)
    assert list(UserEngagementState.objects.order_by("pk").values()) == [
        {**row, "updated_at": LATER} for row in before
    ]
    stored = EngagementStateTransition.objects.filter(trigger="run_undone").order_by("pk")
    assert [Transition(*row) for row in stored.values_list(*Transition._fields)] == moves_back


def test_10_and_1000_users_take_as_many_statements() -> None:
    counts = []
    for number in (10, 1000):
        EngagementStateTransition.objects.all().delete()
        make_users(number, "silent")
        undoing = moved_by_a_run()
        with CaptureQueriesContext(connection) as queries:
            undo_transitions(undoing=undoing, now=LATER)
        counts.append(len(queries))
        UserEngagementState.objects.all().delete()
    assert counts == [2, 2]


def test_users_who_have_been_moved_since_they_were_read_are_refused() -> None:
    make_users(2, "silent")
    undoing = moved_by_a_run()
    undo_transitions(undoing=undoing, now=LATER)
    with pytest.raises(StaleUserStates):
        undo_transitions(undoing=undoing, now=LATER)
    assert EngagementStateTransition.objects.filter(trigger="run_undone").count() == 2


def test_audit_row_without_the_time_that_the_former_state_needs_is_refused() -> None:
    make_user("goodbye_sent")
    ((state, move),) = moved_by_a_run()
    bare = move._replace(metadata={"job_id": move.metadata["job_id"]})
    with pytest.raises(IntegrityError, match="goodbye_sent_has_its_dates"), transaction.atomic():
        undo_transitions(undoing=[(state, bare)], now=LATER)
    assert UserEngagementState.objects.get().state == "dormant"


@pytest.mark.django_db(transaction=True)
def test_nobody_is_put_back_outside_a_transaction() -> None:
    with pytest.raises(TransactionManagementError, match="undo_transitions"):
        undo_transitions(undoing=[], now=LATER)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        undo_transitions(undoing=[], now=LATER.replace(tzinfo=None))


@pytest.mark.parametrize("trait", ["silent", "goodbye_sent", "remind_later", "help_flow", "dormant"])
def test_undoing_is_no_transition_of_the_table(trait: str) -> None:
    user = make_user(trait)
    states = lock_states(user_ids=[user.user_id], trigger=Trigger.RUN_UNDONE, now=NOW)
    with pytest.raises(InvalidTransition):
        transition_states(user_states=states, trigger=Trigger.RUN_UNDONE, now=NOW, policy=Policy())
    assert not EngagementStateTransition.objects.exists()


def test_message_taken_back_is_cancelled_and_its_key_is_free_again() -> None:
    make_users(2, "silent")
    run_job()
    first, second = EngagementMessage.objects.order_by("pk")
    cancel_and_free_keys(message_ids=[first.pk])
    taken = EngagementMessage.objects.get(pk=first.pk)
    assert (taken.status, taken.idempotency_key) == (
        "cancelled",
        f"{first.idempotency_key}:undone:{first.pk}",
    )
    assert EngagementMessage.objects.filter(pk=second.pk).values().get() == {
        column.attname: getattr(second, column.attname) for column in EngagementMessage._meta.concrete_fields
    }
