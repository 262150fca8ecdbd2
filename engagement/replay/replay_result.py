"""What a replay has found: counts by day, and what became of those who were told goodbye. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from operator import add
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from engagement.replay.replay_log import Period

SOON: Final = timedelta(days=7)
"""Who comes back within this time, the last instant included, would have done so without a goodbye."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often what happened."""

    goodbyes: int = 0
    goodbye_timeouts: int = 0
    reminders_due: int = 0
    returns: int = 0
    """Users whom a message of their own made active again."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class DayResult:
    """One day, and how the users stood at the midnight that ended it."""

    date: date
    counts: Counts
    states: Mapping[State, int]

    @classmethod
    def sum(cls, parts: Sequence[DayResult]) -> DayResult:
        """The day of all users, from those of some of them."""
        states = {state: sum(part.states.get(state, 0) for part in parts) for state in State}
        return cls(parts[0].date, sum((part.counts for part in parts), Counts()), states)

    def as_json(self) -> dict[str, object]:
        states = {state.value: self.states.get(state, 0) for state in State}
        return {"date": self.date.isoformat(), **asdict(self.counts), "states": states}


@dataclass(frozen=True, slots=True)
class Comparison:
    """By what policies are compared: what those who were told goodbye did next, as far as the log goes.

    Every goodbye is counted once in the four below it.
    """

    goodbyes: int = 0
    wrong_goodbyes: int = 0
    """They came back on their own within a week."""
    came_back_later: int = 0
    answered: int = 0
    """They chose 1, 2 or 3: of these nobody knows what they would have done."""
    never_came_back: int = 0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(*map(add, astuple(self), astuple(other)))


class Spoken(NamedTuple):
    """Somebody and an instant: when they were told goodbye, or when they answered it."""

    user_id: UUID
    spoken_at: datetime


def compare(
    *, goodbyes: Sequence[Spoken], answers: Collection[Spoken], seen_at: Mapping[UUID, Sequence[datetime]]
) -> Comparison:
    """Look for the first sign of life after each goodbye. `seen_at`: all of each user, in order."""
    wrong = later = answered = 0
    for goodbye in goodbyes:
        instants = seen_at[goodbye.user_id]
        # At the very time of the job: after it.
        place = bisect_left(instants, goodbye.spoken_at)
        if place == len(instants):
            continue
        next_seen_at = instants[place]
        is_answer = Spoken(goodbye.user_id, next_seen_at) in answers
        is_soon = next_seen_at - goodbye.spoken_at <= SOON
        answered += is_answer
        wrong += is_soon and not is_answer
        later += not is_soon and not is_answer
    never = len(goodbyes) - wrong - later - answered
    return Comparison(len(goodbyes), wrong, later, answered, never)


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """What one policy would have done."""

    inactivity_days: int
    days: Sequence[DayResult]
    comparison: Comparison

    @classmethod
    def sum(cls, parts: Sequence[PolicyResult]) -> PolicyResult:
        """The result for all users, from those for some of them, of the same policy and the same days."""
        return cls(
            inactivity_days=parts[0].inactivity_days,
            days=[DayResult.sum(days) for days in zip(*(part.days for part in parts), strict=True)],
            comparison=sum((part.comparison for part in parts), Comparison()),
        )

    @property
    def totals(self) -> Counts:
        return sum((day.counts for day in self.days), Counts())

    def as_json(self) -> dict[str, object]:
        return {
            "inactivity_days": self.inactivity_days,
            "totals": asdict(self.totals),
            "comparison": asdict(self.comparison),
            "days": [day.as_json() for day in self.days],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What a replay has found, policy by policy."""

    period: Period
    users: int
    """Everybody who appears before the period ends."""
    unreachable: int
    """Those of them who never have an address, so that no policy can tell them anything."""
    events: int
    """What they did until then, each counted once however many policies there are."""
    history_events: int
    """Those of them before the period begins."""
    policies: Sequence[PolicyResult]
    duration: timedelta
    ignored_columns: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """One object; the result of a single policy stands in it, those of several in a list."""
        found: Iterable[tuple[str, object]]
        if len(self.policies) == 1:
            found = self.policies[0].as_json().items()
        else:
            found = [("policies", [policy.as_json() for policy in self.policies])]
        return {
            "from": self.period.first_date.isoformat(),
            "to": self.period.last_date.isoformat(),
            "users": self.users,
            "events": self.events,
            **dict(found),
        }
