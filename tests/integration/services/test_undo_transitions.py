"""Taking moves and messages back against PostgreSQL: what is stored, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypedDict
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.selectors.run_transitions import transition_ids_after, transitions_with_states
from engagement.services.message_queue import cancel_and_free_keys
from engagement.services.state_machine import (
    StaleUserStates,
    lock_states,
    transition_states,
    undo_transitions,
)
from engagement.states import InvalidTransition, Policy, Trigger
from tests.factories import NOW, make_user, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from engagement.selectors.run_transitions import RunTransition

pytestmark = pytest.mark.django_db

LATER: Final = NOW + timedelta(hours=2)


class Undoing(TypedDict):
    """What `undo_transitions` is told of a run."""

    undoing: Sequence[RunTransition]
    job_id: UUID


def moved_by_a_run() -> Undoing:
    """Run the job, and lock everybody whom it moved."""
    job_id = run_job().job_id
    ids = transition_ids_after(job_id, after=None, size=1_000)
    return Undoing(undoing=transitions_with_states(ids, lock=True), job_id=job_id)


@pytest.mark.parametrize("trait", ["silent", "goodbye_sent", "remind_later"])
def test_users_are_where_they_were(trait: str) -> None:
    make_users(3, trait)
    before = list(UserEngagementState.objects.order_by("pk").values())
    undoing = moved_by_a_run()
    written = undo_transitions(**undoing, now=LATER)
    assert list(UserEngagementState.objects.order_by("pk").values()) == [
        {**row, "updated_at": LATER} for row in before
    ]
    rows = EngagementStateTransition.objects.in_bulk(written)
    assert [(str(row.user_id), row.from_state, row.to_state) for row in map(rows.__getitem__, written)] == [
        (move.user_id, move.to_state, move.from_state) for move in undoing["undoing"]
    ]
    assert {(row.trigger, row.created_at) for row in rows.values()} == {("run_undone", LATER)}


def test_10_and_1000_users_take_as_many_statements() -> None:
    counts = []
    for number in (10, 1000):
        EngagementStateTransition.objects.all().delete()
        make_users(number, "silent")
        undoing = moved_by_a_run()
        with CaptureQueriesContext(connection) as queries:
            undo_transitions(**undoing, now=LATER)
        counts.append(len(queries))
        UserEngagementState.objects.all().delete()
    assert counts == [2, 2]


def test_users_who_have_been_moved_since_they_were_read_are_refused() -> None:
    make_users(2, "silent")
    undoing = moved_by_a_run()
    undo_transitions(**undoing, now=LATER)
    with pytest.raises(StaleUserStates):
        undo_transitions(**undoing, now=LATER)
    assert EngagementStateTransition.objects.filter(trigger="run_undone").count() == 2


def test_audit_row_without_the_time_that_the_former_state_needs_is_refused() -> None:
    make_user("goodbye_sent")
    undoing = moved_by_a_run()
    EngagementStateTransition.objects.update(metadata={"job_id": str(undoing["job_id"])})
    with pytest.raises(IntegrityError, match="goodbye_sent_has_its_dates"), transaction.atomic():
        undo_transitions(**undoing, now=LATER)
    assert UserEngagementState.objects.get().state == "dormant"


@pytest.mark.django_db(transaction=True)
def test_nobody_is_put_back_outside_a_transaction() -> None:
    with pytest.raises(TransactionManagementError, match="undo_transitions"):
        undo_transitions(undoing=[], job_id=uuid4(), now=LATER)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        undo_transitions(undoing=[], job_id=uuid4(), now=LATER.replace(tzinfo=None))


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
