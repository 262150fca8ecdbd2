"""The rules: every state with every trigger, every threshold from both sides. No database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.states import (
    CHECKS,
    TARGETS,
    Check,
    InvalidTransition,
    Policy,
    State,
    Trigger,
    UserState,
    next_state,
    timestamps_on_entering,
    transition_metadata,
)
from tests.factories import NOW, TICK
from tests.reference.rules import TRANSITIONS

if TYPE_CHECKING:
    from engagement.states import Timestamps

ANA: Final = UUID("0197f3a0-0000-7000-8000-000000000001")
POLICY: Final = Policy()

REFUSED: Final = sorted(
    set(product(State.values, Trigger.values)) - set(TRANSITIONS) - {("active", "user_message")}
)

SOURCES: Final = {
    "inactivity_14d": "scheduler",
    "goodbye_timeout": "scheduler",
    "reminder_due": "scheduler",
    "user_message": "user_message",
    "goodbye_response_1": "user_message",
    "goodbye_response_2": "user_message",
    "goodbye_response_3": "user_message",
    "run_undone": "operator",
}

RESPONSES: Final = {
    "goodbye_response_1": "confused",
    "goodbye_response_2": "busy",
    "goodbye_response_3": "all_good",
    "goodbye_timeout": "timeout",
}

instants: Final = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def user_in(
    state: str = "active",
    *,
    last_activity_at: datetime = NOW - timedelta(days=1),
    goodbye_sent_at: datetime | None = None,
    goodbye_expires_at: datetime | None = None,
    remind_at: datetime | None = None,
) -> UserState:
    """A user who wrote yesterday, in `state`."""
    return UserState(ANA, state, last_activity_at, goodbye_sent_at, goodbye_expires_at, remind_at)


def metadata(
    user_state: UserState, trigger: str, *, dormant_since: datetime | None = None, policy: Policy = POLICY
) -> dict[str, object]:
    return transition_metadata(
        user_state, Trigger(trigger), now=NOW, policy=policy, dormant_since=dormant_since
    )


def entering(state: str, *, policy: Policy = POLICY) -> Timestamps:
    return timestamps_on_entering(State(state), now=NOW, policy=policy)


def test_every_pair_of_state_and_trigger_is_covered() -> None:
    assert (len(State), len(Trigger), len(TRANSITIONS), len(REFUSED)) == (5, 8, 10, 29)


@pytest.mark.parametrize(("state", "trigger"), TRANSITIONS)
def test_each_of_the_ten_transitions_leads_to_its_state(state: str, trigger: str) -> None:
    assert next_state(user_in(state), Trigger(trigger)) == TRANSITIONS[state, trigger]


def test_message_from_an_active_user_is_no_transition() -> None:
    assert next_state(user_in("active"), Trigger.USER_MESSAGE) is None


@pytest.mark.parametrize(("state", "trigger"), REFUSED)
def test_every_other_pair_is_refused_with_state_and_trigger(state: str, trigger: str) -> None:
    with pytest.raises(InvalidTransition) as refused:
        next_state(user_in(state), Trigger(trigger))
    assert str(refused.value) == f"User {ANA} is {state}: there is no transition for {trigger}."
    assert (refused.value.user_id, refused.value.state, refused.value.trigger) == (ANA, state, trigger)


def test_each_trigger_but_run_undone_leads_to_exactly_one_state() -> None:
    assert {(trigger, target) for (_, trigger), target in TRANSITIONS.items()} == set(TARGETS.items())
    assert set(Trigger) - set(TARGETS) == {Trigger.RUN_UNDONE}


@pytest.mark.parametrize("choices", [State, Trigger])
def test_label_is_short_and_has_no_period_of_the_settings(choices: type[State | Trigger]) -> None:
    assert all("14" not in label and "day" not in label for label in choices.labels)


@pytest.mark.parametrize(
    ("state", "own"),
    [
        ("active", {}),
        ("goodbye_sent", {"goodbye_sent_at": NOW, "goodbye_expires_at": NOW + timedelta(hours=48)}),
        ("help_flow", {}),
        ("remind_later", {"remind_at": NOW + timedelta(days=14)}),
        ("dormant", {}),
    ],
)
def test_entering_a_state_sets_its_own_timestamps_and_clears_the_others(
    state: str, own: dict[str, datetime]
) -> None:
    nothing = dict.fromkeys(("goodbye_sent_at", "goodbye_expires_at", "remind_at"))
    assert entering(state) == {**nothing, **own}


def test_entering_a_state_uses_the_periods_of_the_policy() -> None:
    policy = Policy(goodbye_wait=timedelta(hours=5), remind_after=timedelta(days=6))
    assert entering("goodbye_sent", policy=policy)["goodbye_expires_at"] == NOW + timedelta(hours=5)
    assert entering("remind_later", policy=policy)["remind_at"] == NOW + timedelta(days=6)


@given(state=st.sampled_from(State), now=instants)
def test_state_with_a_check_is_entered_with_its_timestamps(state: State, now: datetime) -> None:
    entered = timestamps_on_entering(state, now=now, policy=POLICY)
    has_goodbye = entered["goodbye_sent_at"] is not None and entered["goodbye_expires_at"] is not None
    assert has_goodbye == (state is State.GOODBYE_SENT)
    assert (entered["remind_at"] is not None) == (state is State.REMIND_LATER)


@pytest.mark.parametrize(
    ("silence", "days"),
    [
        (timedelta(0), 0),
        (timedelta(days=1) - TICK, 0),
        (timedelta(days=1), 1),
        (timedelta(days=1) + TICK, 1),
        (timedelta(days=15) - TICK, 14),
        (timedelta(days=15), 15),
        (-TICK, 0),
        (timedelta(days=-3), 0),
    ],
)
def test_days_inactive_are_whole_and_never_negative(silence: timedelta, days: int) -> None:
    assert metadata(user_in(last_activity_at=NOW - silence), "inactivity_14d")["days_inactive"] == days


@pytest.mark.parametrize("trigger", Trigger.values)
def test_trigger_source_is_scheduler_user_or_operator(trigger: str) -> None:
    assert metadata(user_in(), trigger)["trigger_source"] == SOURCES[trigger]


@pytest.mark.parametrize("trigger", Trigger.values)
def test_only_a_reply_or_a_timeout_has_response_metadata(trigger: str) -> None:
    user_state = user_in("goodbye_sent", goodbye_sent_at=NOW - timedelta(hours=30))
    values = metadata(user_state, trigger)
    answer = {
        key: values[key] for key in ("response_type", "hours_waited", "days_since_goodbye") if key in values
    }
    expected = {"response_type": RESPONSES.get(trigger), "hours_waited": 30, "days_since_goodbye": 1}
    assert answer == (expected if trigger in RESPONSES else {})


@pytest.mark.parametrize(
    ("waited", "hours", "days"),
    [
        (timedelta(hours=1) - TICK, 0, 0),
        (timedelta(hours=1), 1, 0),
        (timedelta(days=2) - TICK, 47, 1),
        (timedelta(days=2), 48, 2),
        (timedelta(days=2) + TICK, 48, 2),
        (timedelta(hours=-1), 0, 0),
    ],
)
def test_wait_for_an_answer_is_whole_and_never_negative(waited: timedelta, hours: int, days: int) -> None:
    values = metadata(user_in("goodbye_sent", goodbye_sent_at=NOW - waited), "goodbye_timeout")
    assert (values["hours_waited"], values["days_since_goodbye"]) == (hours, days)


@pytest.mark.parametrize(("beyond", "returned"), [(-TICK, None), (TICK * 0, True), (TICK, True)])
@pytest.mark.parametrize("days", [3, 9])
def test_return_is_unprompted_after_the_policys_days_of_dormancy(
    days: int,
    beyond: timedelta,
    returned: bool | None,  # noqa: FBT001  pytest passes by name
) -> None:
    period = timedelta(days=days)
    values = metadata(
        user_in("dormant"),
        "user_message",
        dormant_since=NOW - period - beyond,
        policy=Policy(unprompted_return_after=period),
    )
    assert values.get("unprompted_return") is returned


def test_return_from_elsewhere_is_never_unprompted() -> None:
    long_silent = user_in("help_flow", last_activity_at=NOW - timedelta(days=99))
    assert "unprompted_return" not in metadata(long_silent, "user_message")


def test_former_timestamps_are_kept_to_the_microsecond() -> None:
    sent_at = datetime(2026, 2, 27, 6, 0, 0, 123456, tzinfo=UTC)
    expires_at = datetime(2026, 3, 1, 6, 0, 0, 1, tzinfo=UTC)
    user_state = user_in("goodbye_sent", goodbye_sent_at=sent_at, goodbye_expires_at=expires_at)
    assert metadata(user_state, "goodbye_timeout")["former_timestamps"] == {
        "goodbye_sent_at": "2026-02-27T06:00:00.123456+00:00",
        "goodbye_expires_at": "2026-03-01T06:00:00.000001+00:00",
    }


def test_former_timestamps_have_only_those_that_were_set() -> None:
    remind_at = NOW - TICK
    values = metadata(user_in("remind_later", remind_at=remind_at), "reminder_due")
    assert values["former_timestamps"] == {"remind_at": remind_at.isoformat()}
    assert "former_timestamps" not in metadata(user_in("active"), "inactivity_14d")


@given(
    state=st.sampled_from(State.values),
    trigger=st.sampled_from(Trigger),
    now=instants,
    last_activity_at=instants,
    others=st.tuples(*[st.none() | instants] * 3),
    dormant_since=st.none() | instants,
)
def test_metadata_is_json_and_never_negative(
    state: str,
    trigger: Trigger,
    now: datetime,
    last_activity_at: datetime,
    others: tuple[datetime | None, datetime | None, datetime | None],
    dormant_since: datetime | None,
) -> None:
    user_state = UserState(ANA, state, last_activity_at, *others)
    values = transition_metadata(user_state, trigger, now=now, policy=POLICY, dormant_since=dormant_since)
    assert json.loads(json.dumps(values)) == values
    assert all(value >= 0 for value in values.values() if isinstance(value, int))


def test_checks_are_in_their_order() -> None:
    assert [(check.name, check.state, check.due_column, check.sends_goodbye) for check in CHECKS] == [
        ("inactivity_14d", "active", "last_activity_at", True),
        ("goodbye_timeout", "goodbye_sent", "goodbye_expires_at", False),
        ("reminder_due", "remind_later", "remind_at", False),
    ]


def test_only_inactivity_has_a_cutoff_in_the_past() -> None:
    cutoffs = {check.name: check.cutoff_at(now=NOW, policy=POLICY) for check in CHECKS}
    fortnight_ago = NOW - timedelta(days=14)
    assert cutoffs == {"inactivity_14d": fortnight_ago, "goodbye_timeout": NOW, "reminder_due": NOW}


def test_cutoff_of_inactivity_uses_the_policy() -> None:
    policy = Policy(inactivity=timedelta(days=30))
    assert CHECKS[0].cutoff_at(now=NOW, policy=policy) == NOW - timedelta(days=30)


@given(
    check=st.sampled_from(CHECKS), due_at=instants, days=st.integers(1, 30), step=st.sampled_from([-1, 0, 1])
)
def test_due_after_and_cutoff_are_one_rule(check: Check, due_at: datetime, days: int, step: int) -> None:
    policy = Policy(inactivity=timedelta(days=days))
    now = check.due_after(due_at, policy=policy) + step * TICK
    assert (due_at < check.cutoff_at(now=now, policy=policy)) == (step == 1)
