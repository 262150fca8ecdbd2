"""The messages of an activity log in the order of time, and the days of which a replay consists."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.replay.activity_log import MalformedActivityLog, open_activity_log
from engagement.replay.loading import user_id_of
from engagement.states import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.activity_log import Event

LONGEST_DEFAULT: Final = 3_653
"""Days. A longer period, which one wrong year in a log can cause, needs both --from and --to."""


class NothingToReplay(Exception):
    """The log and the requested days do not fit together. One sentence says why."""


class Message(NamedTuple):
    """An event of the log, as the assistant receives it."""

    user_id: UUID
    event: Event
    previous: Event | None
    """The user's event before this one: only a difference between the two changes the profile."""


class Period(NamedTuple):
    """The days of a replay in UTC, the last one included."""

    first_date: date
    last_date: date

    @property
    def begins_at(self) -> datetime:
        return datetime.combine(self.first_date, time(tzinfo=UTC))

    @property
    def ends_at(self) -> datetime:
        return datetime.combine(self.last_date + DAY, time(tzinfo=UTC))

    @property
    def days(self) -> int:
        return (self.last_date - self.first_date) // DAY + 1


class Day(NamedTuple):
    """One day. A message at the very time of the run comes after it."""

    run_at: datetime
    before_run: Sequence[Message]
    after_run: Sequence[Message]


class ReplayLog(NamedTuple):
    """All messages of a log, in the order of time; those of one instant in the order of the file."""

    messages: Sequence[Message]
    ignored_columns: tuple[str, ...] = ()

    def until(self, ends_at: datetime) -> Sequence[Message]:
        """The messages before `ends_at`."""
        return self.messages[: self._index(ends_at)]

    def days(self, period: Period, *, run_time: time) -> Iterator[Day]:
        """Each day of the period, also if nothing happened on it. Runs start at `run_time`, in UTC."""
        for number in range(period.days):
            begins_at = period.begins_at + number * DAY
            run_at = datetime.combine(begins_at, run_time)
            begin, run, end = map(self._index, (begins_at, run_at, begins_at + DAY))
            yield Day(run_at, self.messages[begin:run], self.messages[run:end])

    def _index(self, moment: datetime) -> int:
        return bisect_left(self.messages, moment, key=lambda message: message.event.occurred_at)


def read_replay_log(path: Path) -> ReplayLog:
    """Read the whole log at `path`, with texts. Raises MalformedActivityLog, also if it has no events."""
    with open_activity_log(path, with_text=True) as log:
        events = sorted(log.events, key=lambda event: event.occurred_at)
    if not events:
        raise MalformedActivityLog(path, "there are no events below the header")
    return ReplayLog(tuple(_messages(events)), log.ignored_columns)


def _messages(events: Iterable[Event]) -> Iterator[Message]:
    latest: dict[str, Message] = {}
    for event in events:
        if former := latest.get(event.user):
            message = Message(former.user_id, event.filled_from(former.event), former.event)
        else:
            message = Message(user_id_of(event.user), event, None)
        latest[event.user] = message
        yield message


def period_of(log: ReplayLog, *, first_date: date | None, last_date: date | None) -> Period:
    """The requested days; None stands for the first or the last day of the log.

    Raises NothingToReplay if they have no event, or are too many and not both ends are given.
    """
    first, last = (log.messages[index].event.occurred_at.date() for index in (0, -1))
    period = Period(first_date or first, last_date or last)
    problem = ""
    if period.days > LONGEST_DEFAULT and not (first_date and last_date):
        problem = f"{period.days:,} days are too many to replay by default; choose days with --from and --to"
    elif len(log.until(period.begins_at)) >= len(log.until(period.ends_at)):
        problem = "there is no event on the requested days; choose others with --from and --to"
    if problem:
        raise NothingToReplay(f"the log goes from {first} to {last}: {problem}")
    return period
