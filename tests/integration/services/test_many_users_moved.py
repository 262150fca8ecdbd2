"""Many users moved by one call: all or none, in as many statements as for a few."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.services.state_machine import (
    EngagementStateNotFound,
    StaleUserStates,
    lock_states,
    transition_states,
)
from engagement.states import InvalidTransition, Policy, State, Trigger
from tests.factories import NOW, make_user, make_users
from tests.integration.services.users import count_audit_rows, stored

pytestmark = pytest.mark.django_db


def statements_for(user_ids: list[UUID], trigger: Trigger) -> int:
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        user_states = lock_states(user_ids=user_ids, trigger=trigger, now=NOW)
        transition_states(user_states=user_states, trigger=trigger, now=NOW, policy=Policy())
    return len(queries)


@pytest.mark.parametrize("trait", ["silent", "goodbye_sent", "remind_later"])
def test_scheduler_moves_10_and_1000_users_in_as_many_statements(trait: str) -> None:
    trigger = {
        "silent": Trigger.INACTIVITY_14D,
        "goodbye_sent": Trigger.GOODBYE_TIMEOUT,
        "remind_later": Trigger.REMINDER_DUE,
    }[trait]
    few, many = ([user.user_id for user in make_users(count, trait)] for count in (10, 1000))
    # Beside the three: the savepoint of the test's transaction, and its release.
    assert statements_for(few, trigger) == statements_for(many, trigger) == 3 + 2
    assert count_audit_rows() == 1010


@pytest.mark.parametrize("trait", ["active", "dormant", "no state"])
def test_messages_of_10_and_1000_users_take_as_many_statements(trait: str) -> None:
    def some_users(count: int) -> list[UUID]:
        users = make_users(count, *{trait} - {"active", "no state"})
        if trait == "no state":
            UserEngagementState.objects.all().delete()
        return [user.user_id for user in users]

    few = statements_for(some_users(10), Trigger.USER_MESSAGE)
    assert statements_for(some_users(1000), Trigger.USER_MESSAGE) == few <= 7
    assert UserEngagementState.objects.filter(state=State.ACTIVE, last_activity_at=NOW).count() >= 1000
    assert count_audit_rows() == (1010 if trait == "dormant" else 0)


def test_nobody_is_moved_when_one_of_a_list_may_not_be() -> None:
    users = [*make_users(3, "silent"), make_user("dormant")]
    ids = [user.user_id for user in users]
    user_states = lock_states(user_ids=ids, trigger=Trigger.INACTIVITY_14D, now=NOW)
    before = [stored(user) for user in users]
    with pytest.raises(InvalidTransition):
        transition_states(user_states=user_states, trigger=Trigger.INACTIVITY_14D, now=NOW, policy=Policy())
    assert ([stored(user) for user in users], count_audit_rows()) == (before, 0)


def test_active_users_among_the_senders_are_not_logged() -> None:
    active, dormant = make_user(), make_user("dormant")
    ids = [active.user_id, dormant.user_id]
    user_states = lock_states(user_ids=ids, trigger=Trigger.USER_MESSAGE, now=NOW)
    (audit_row,) = transition_states(
        user_states=user_states, trigger=Trigger.USER_MESSAGE, now=NOW, policy=Policy()
    )
    assert audit_row.user_id == dormant.user_id
    assert stored(active)["last_activity_at"] == stored(dormant)["last_activity_at"] == NOW


def test_nobody_to_move_is_no_mistake() -> None:
    assert lock_states(user_ids=[], trigger=Trigger.USER_MESSAGE, now=NOW) == []
    assert transition_states(user_states=[], trigger=Trigger.REMINDER_DUE, now=NOW, policy=Policy()) == []


def test_every_missing_user_is_named() -> None:
    missing = {uuid4(), uuid4()}
    with pytest.raises(EngagementStateNotFound) as error:
        lock_states(user_ids=[make_user().user_id, *missing], trigger=Trigger.REMINDER_DUE, now=NOW)
    assert error.value.user_ids == missing
    assert str(error.value) == "No engagement state for {}, {}.".format(*sorted(missing))


def test_rows_are_locked_in_the_order_of_their_ids() -> None:
    ids = [make_user(user__user_id=UUID(int=number)).user_id for number in (3, 1, 2)]
    user_states = lock_states(user_ids=ids, trigger=Trigger.USER_MESSAGE, now=NOW)
    assert [user_state.user_id for user_state in user_states] == sorted(ids)


@pytest.mark.django_db(transaction=True)
def test_many_users_are_not_moved_outside_a_transaction() -> None:
    make_user("silent")
    with transaction.atomic():
        user_states = lock_states(
            user_ids=[UserEngagementState.objects.get().user_id], trigger=Trigger.INACTIVITY_14D, now=NOW
        )
    with pytest.raises(TransactionManagementError, match=r"^transition_states\(\) needs the"):
        transition_states(user_states=user_states, trigger=Trigger.INACTIVITY_14D, now=NOW, policy=Policy())
    assert not EngagementStateTransition.objects.exists()


def test_rows_that_have_been_moved_since_they_were_read_are_refused() -> None:
    user = make_user("silent")
    user_states = lock_states(user_ids=[user.user_id], trigger=Trigger.INACTIVITY_14D, now=NOW)
    transition_states(user_states=user_states, trigger=Trigger.INACTIVITY_14D, now=NOW, policy=Policy())
    with pytest.raises(StaleUserStates):
        transition_states(user_states=user_states, trigger=Trigger.INACTIVITY_14D, now=NOW, policy=Policy())
    assert EngagementStateTransition.objects.count() == 1
