"""What a replay finds, and the numbers by which policies are compared. Pure."""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.states import DAY, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from engagement.replay.period import Period

SOON: Final = timedelta(days=7)
"""A goodbye was wrong if the user comes back within this time, the last instant included."""


class Counts(NamedTuple):
    """How many users the runs and their own messages moved."""

    goodbyes: int = 0
    goodbye_timeouts: int = 0
    reminders_due: int = 0
    returns: int = 0
    """Users whom a message of their own made active again."""


class DayResult(NamedTuple):
    """One day, and the number of users in each state when it ends."""

    date: date
    counts: Counts
    states: Mapping[State, int]

    def as_json(self) -> dict[str, object]:
        states = {state.value: self.states.get(state, 0) for state in State}
        return {"date": self.date.isoformat(), **self.counts._asdict(), "states": states}


class Goodbye(NamedTuple):
    """A goodbye that a run sent."""

    user_id: UUID
    sent_at: datetime
    last_activity_at: datetime


class Comparison(NamedTuple):
    """What users did next after a goodbye, as far as the log goes; each goodbye is counted once."""

    goodbyes: int = 0
    wrong_goodbyes: int = 0
    """The user came back within a week, and would have done so without a goodbye."""
    came_back_later: int = 0
    answered: int = 0
    """The user chose 1, 2 or 3, or opted out or in, so what they would have done otherwise is unknown."""
    never_came_back: int = 0
    days_waited_mean: float | None = None
    """Days from the last activity to the goodbye, of the users who never came back."""
    days_waited_median: float | None = None


def compare(
    *,
    goodbyes: Sequence[Goodbye],
    answers: Collection[tuple[UUID, datetime]],
    seen_at: Mapping[UUID, Sequence[datetime]],
) -> Comparison:
    """Find each user's next event after each goodbye. `seen_at` has all events of each user, in order."""
    wrong = later = answered = 0
    days_waited = []
    for user_id, sent_at, last_activity_at in goodbyes:
        # An event at the very time of the run comes after it.
        place = bisect_left(seen_at[user_id], sent_at)
        next_seen_at = seen_at[user_id][place] if place < len(seen_at[user_id]) else None
        if next_seen_at is None:
            days_waited.append((sent_at - last_activity_at) / DAY)
        elif (user_id, next_seen_at) in answers:
            answered += 1
        elif next_seen_at - sent_at <= SOON:
            wrong += 1
        else:
            later += 1
    return Comparison(
        *(len(goodbyes), wrong, later, answered, len(days_waited)),
        days_waited_mean=round(fmean(days_waited), 2) if days_waited else None,
        days_waited_median=round(median(days_waited), 2) if days_waited else None,
    )


class PolicyResult(NamedTuple):
    """What one policy would have done."""

    inactivity_days: int
    days: Sequence[DayResult]
    comparison: Comparison

    @property
    def totals(self) -> Counts:
        return Counts(*map(sum, zip(*(day.counts for day in self.days), strict=True)))

    def as_json(self) -> dict[str, object]:
        return {
            "inactivity_days": self.inactivity_days,
            "totals": self.totals._asdict(),
            "comparison": self.comparison._asdict(),
            "days": [day.as_json() for day in self.days],
        }


class ReplayResult(NamedTuple):
    """What a replay found, policy by policy."""

    period: Period
    users: int
    """All users with an event before the period ends."""
    unreachable: int
    """Those of them who never have an address, so that no policy can send them a goodbye."""
    events: int
    """All events before the period ends, counted once for all policies."""
    history_events: int
    """Those of them before the period begins."""
    policies: Sequence[PolicyResult]
    duration: timedelta
    ignored_columns: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """One object. The result of a single policy is merged into it; several are in a list."""
        policies = [policy.as_json() for policy in self.policies]
        return {
            "from": self.period.first_date.isoformat(),
            "to": self.period.last_date.isoformat(),
            "users": self.users,
            "events": self.events,
            **(policies[0] if len(policies) == 1 else {"policies": policies}),
        }
