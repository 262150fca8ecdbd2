"""What a replay has found: the parts of several processes add up, and programs read it as JSON."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from engagement.replay.replay_log import Period
from engagement.replay.replay_result import Comparison, Counts, DayResult, PolicyResult, ReplayResult
from engagement.states import State

FIRST: Final = date(2026, 3, 2)
LAST: Final = date(2026, 3, 3)

PARTS: Final = [
    PolicyResult(
        inactivity_days=14,
        days=[
            DayResult(FIRST, Counts(1, 2, 3, 4), {State.ACTIVE: 5}),
            DayResult(LAST, Counts(returns=1), {State.ACTIVE: 4, State.DORMANT: 1}),
        ],
        comparison=Comparison(10, 1, 2, 3, 4),
    ),
    PolicyResult(
        inactivity_days=14,
        days=[
            DayResult(FIRST, Counts(10, 20, 30, 40), {State.ACTIVE: 50, State.HELP_FLOW: 60}),
            DayResult(LAST, Counts(goodbyes=10), {State.DORMANT: 110}),
        ],
        comparison=Comparison(100, 10, 20, 30, 40),
    ),
]

STATES: Final = {"active": 55, "goodbye_sent": 0, "help_flow": 60, "remind_later": 0, "dormant": 0}

WHOLE: Final = {
    "inactivity_days": 14,
    "totals": {"goodbyes": 21, "goodbye_timeouts": 22, "reminders_due": 33, "returns": 45},
    "comparison": {
        "goodbyes": 110,
        "wrong_goodbyes": 11,
        "came_back_later": 22,
        "answered": 33,
        "never_came_back": 44,
    },
    "days": [
        {
            "date": "2026-03-02",
            "goodbyes": 11,
            "goodbye_timeouts": 22,
            "reminders_due": 33,
            "returns": 44,
            "states": STATES,
        },
        {
            "date": "2026-03-03",
            "goodbyes": 10,
            "goodbye_timeouts": 0,
            "reminders_due": 0,
            "returns": 1,
            "states": {**STATES, "active": 4, "help_flow": 0, "dormant": 111},
        },
    ],
}


def result(*policies: PolicyResult) -> ReplayResult:
    return ReplayResult(
        period=Period(FIRST, LAST),
        users=115,
        unreachable=3,
        events=200,
        history_events=50,
        policies=policies,
        duration=timedelta(seconds=1),
        ignored_columns=(),
    )


def test_parts_add_up_day_by_day_and_state_by_state() -> None:
    assert PolicyResult.sum(PARTS).as_json() == WHOLE
    assert PolicyResult.sum([PolicyResult.sum(PARTS)]).as_json() == WHOLE


def test_state_in_which_nobody_stands_is_told_as_well() -> None:
    assert DayResult(FIRST, Counts(), {}).as_json()["states"] == dict.fromkeys(STATES, 0)


def test_single_policy_stands_in_the_result_and_several_in_a_list() -> None:
    whole = PolicyResult.sum(PARTS)
    common = {"from": "2026-03-02", "to": "2026-03-03", "users": 115, "events": 200}
    assert result(whole).as_json() == {**common, **WHOLE}
    assert result(whole, whole).as_json() == {**common, "policies": [WHOLE, WHOLE]}
