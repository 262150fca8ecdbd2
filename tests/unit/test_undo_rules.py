"""The rule of undo: what a transition left. No database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from engagement.states import (
    TARGETS,
    Policy,
    State,
    Trigger,
    UserState,
    still_as_left,
    timestamps_on_entering,
)
from tests.factories import NOW, TICK

ANA: Final = UUID("0197f3a0-0000-7000-8000-000000000001")
ACTIVE: Final = UserState(ANA, "active", NOW - timedelta(days=20), None, None, None)
TO_BE_REMINDED: Final = ACTIVE._replace(state="remind_later", remind_at=NOW - TICK)

POLICY: Final = Policy()


def moved(user_state: UserState, trigger: Trigger, *, policy: Policy = POLICY) -> UserState:
    """The state that a transition leaves."""
    target = TARGETS[trigger]
    left = timestamps_on_entering(target, now=NOW, policy=policy)
    return user_state._replace(state=target.value, **left)


@pytest.mark.parametrize("trigger", TARGETS)
def test_user_is_as_the_transition_left_them(trigger: Trigger) -> None:
    left = moved(ACTIVE, trigger)
    assert still_as_left(left, in_state=TARGETS[trigger], at=NOW)


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
    left = moved(ACTIVE, Trigger.INACTIVITY_14D)
    assert still_as_left(left, in_state=State.GOODBYE_SENT, at=NOW)
    assert not still_as_left(left._replace(**change), in_state=State.GOODBYE_SENT, at=NOW)


@pytest.mark.parametrize(
    "change", [{"goodbye_sent_at": NOW}, {"goodbye_expires_at": NOW}, {"remind_at": NOW}]
)
def test_dormant_user_with_a_timestamp_is_not_as_the_reminder_left_them(change: dict[str, Any]) -> None:
    left = moved(TO_BE_REMINDED, Trigger.REMINDER_DUE)
    assert still_as_left(left, in_state=State.DORMANT, at=NOW)
    assert not still_as_left(left._replace(**change), in_state=State.DORMANT, at=NOW)


def test_end_of_the_goodbye_is_not_compared() -> None:
    left = moved(ACTIVE, Trigger.INACTIVITY_14D, policy=Policy(goodbye_wait=timedelta(hours=5)))
    assert still_as_left(left, in_state=State.GOODBYE_SENT, at=NOW)


def test_activity_is_not_compared() -> None:
    left = moved(ACTIVE, Trigger.INACTIVITY_14D)
    assert still_as_left(left._replace(last_activity_at=NOW), in_state=State.GOODBYE_SENT, at=NOW)
