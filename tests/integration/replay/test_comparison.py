"""How goodbyes are judged by what the users did next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import pytest

from engagement.replay.comparison import SOON, Comparison, Counts, DayResult, Goodbye, compare
from tests.integration.replay.logs import MIDNIGHT, TICK
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from datetime import datetime

ANA: Final = UUID(int=1)
BEN: Final = UUID(int=2)
CID: Final = UUID(int=3)
RUN: Final = MIDNIGHT + 6 * HOUR


def goodbye(user_id: UUID, *, days: int = 0, waited: float = 14.25) -> Goodbye:
    return Goodbye(user_id, RUN + days * DAY, RUN + (days - waited) * DAY)


@pytest.mark.parametrize(
    ("seen_at", "expected"),
    [
        ([], "never_came_back"),
        ([RUN - TICK], "never_came_back"),
        ([RUN], "wrong_goodbyes"),
        ([RUN + SOON], "wrong_goodbyes"),
        ([RUN + SOON + TICK], "came_back_later"),
        ([RUN - TICK, RUN + SOON + TICK, RUN + 2 * SOON], "came_back_later"),
    ],
)
def test_goodbye_is_judged_by_the_next_event(seen_at: list[datetime], expected: str) -> None:
    found = compare(goodbyes=[goodbye(ANA)], answers=set(), seen_at={ANA: seen_at})
    days = 14.25 if expected == "never_came_back" else None
    assert found == Comparison(1, days_waited_mean=days, days_waited_median=days)._replace(**{expected: 1})


def test_every_goodbye_is_judged() -> None:
    seen_at = {ANA: [RUN + HOUR, RUN + 9 * DAY, RUN + 30 * DAY], BEN: []}
    goodbyes = [goodbye(BEN), *(goodbye(ANA, days=days) for days in (0, 3, 10, 11))]
    found = compare(goodbyes=goodbyes, answers=set(), seen_at=seen_at)
    assert found[:5] == Comparison(5, wrong_goodbyes=2, came_back_later=2, never_came_back=1)[:5]


def test_answer_is_neither_wrong_nor_a_return() -> None:
    seen_at = {ANA: [RUN + HOUR], BEN: [RUN + HOUR]}
    found = compare(goodbyes=[goodbye(ANA), goodbye(BEN)], answers={(ANA, RUN + HOUR)}, seen_at=seen_at)
    assert found == Comparison(2, answered=1, wrong_goodbyes=1)


def test_days_waited_are_those_of_users_who_never_came_back() -> None:
    goodbyes = [
        goodbye(ANA, waited=99),
        goodbye(ANA, days=9, waited=14),
        goodbye(BEN, waited=15),
        goodbye(CID, waited=21.002),
    ]
    found = compare(goodbyes=goodbyes, answers=set(), seen_at={ANA: [RUN + 8 * DAY], BEN: [], CID: []})
    assert (found.days_waited_mean, found.days_waited_median) == (16.67, 15)


def test_state_without_users_has_a_zero() -> None:
    states = DayResult(MIDNIGHT.date(), Counts(), {}).as_json()["states"]
    assert states == dict.fromkeys(("active", "goodbye_sent", "help_flow", "remind_later", "dormant"), 0)
