"""The rules of undo: what a transition left, and the state before it. No database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.states import (
    TARGETS,
    TRANSITIONS,
    Policy,
    State,
    Transition,
    Trigger,
    UserState,
    state_before,
    still_as_left_by,
    timestamps_on_entering,
    transition_metadata,
)
from tests.factories import NOW, TICK

ANA: Final = UUID("0197f3a0-0000-7000-8000-000000000001")
ACTIVE: Final = UserState(ANA, "active", NOW - timedelta(days=20), None, None, None)
TO_BE_REMINDED: Final = ACTIVE._replace(state="remind_later", remind_at=NOW - TICK)

POLICY: Final = Policy()

times = st.none() | st.datetimes(timezones=st.just(UTC))


def moved(
    user_state: UserState, trigger: Trigger, *, policy: Policy = POLICY
) -> tuple[UserState, Transition]:
    """The state after a transition, and its audit row after a round trip through JSON."""
    target = TARGETS[trigger]
    values = json.loads(json.dumps(transition_metadata(user_state, trigger, now=NOW, policy=policy)))
    row = Transition(ANA, ANA, user_state.state, target.value, trigger.value, values, NOW)
    left = timestamps_on_entering(target, now=NOW, policy=policy)
    return user_state._replace(state=target.value, **left), row


@pytest.mark.parametrize(("state", "trigger"), TRANSITIONS)
@given(former=st.tuples(times, times, times))
def test_state_before_a_transition_is_restored(
    state: State, trigger: Trigger, former: tuple[datetime | None, datetime | None, datetime | None]
) -> None:
    user_state = UserState(ANA, state.value, NOW - timedelta(days=20), *former)
    left, row = moved(user_state, trigger)
    assert state_before(left, transition=row) == user_state
    assert still_as_left_by(left, by=row)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "active"},
        {"goodbye_sent_at": NOW + TICK},
        {"goodbye_sent_at": None},
        {"remind_at": NOW},
    ],
)
def test_changed_user_is_not_as_the_goodbye_left_them(change: dict[str, Any]) -> None:
    left, row = moved(ACTIVE, Trigger.INACTIVITY_14D)
    assert still_as_left_by(left, by=row)
    assert not still_as_left_by(left._replace(**change), by=row)


@pytest.mark.parametrize(
    "change", [{"goodbye_sent_at": NOW}, {"goodbye_expires_at": NOW}, {"remind_at": NOW}]
)
def test_dormant_user_with_a_timestamp_is_not_as_the_reminder_left_them(change: dict[str, Any]) -> None:
    left, row = moved(TO_BE_REMINDED, Trigger.REMINDER_DUE)
    assert still_as_left_by(left, by=row)
    assert not still_as_left_by(left._replace(**change), by=row)


def test_end_of_the_goodbye_is_not_compared() -> None:
    left, row = moved(ACTIVE, Trigger.INACTIVITY_14D, policy=Policy(goodbye_wait=timedelta(hours=5)))
    assert still_as_left_by(left, by=row)


def test_activity_is_not_compared() -> None:
    left, row = moved(ACTIVE, Trigger.INACTIVITY_14D)
    assert still_as_left_by(left._replace(last_activity_at=NOW), by=row)
