"""What a replay plays: the messages of an activity log in the order of time, cut into days. No database."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.conf import engagement_settings
from engagement.replay.activity_log import MalformedActivityLog, open_activity_log
from engagement.replay.loading import user_id_of
from engagement.schedule import YEARS
from engagement.states import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.activity_log import Event

LONGEST_UNASKED: Final = 3_653
"""Days. One wrong year in a log must not make a replay of centuries; whoever wants one asks for it."""


class NothingToReplay(Exception):
    """The log and the period asked for do not fit; one sentence says why."""


class Message(NamedTuple):
    """One event of the log, as the assistant would have met it."""

    user_id: UUID
    event: Event
    event_before: Event | None
    """The same user's, to tell what the log has learnt about them meanwhile."""


@dataclass(frozen=True, slots=True)
class Period:
    """The days of a replay, the last one included. Days are UTC's."""

    first_date: date
    last_date: date

    @property
    def begins_at(self) -> datetime:
        return midnight_of(self.first_date)

    @property
    def ends_at(self) -> datetime:
        return midnight_of(self.last_date + DAY)

    @property
    def days(self) -> int:
        return (self.last_date - self.first_date) // DAY + 1


class Day(NamedTuple):
    """One day: what came before the job, and what came at the very time of the job or later."""

    date: date
    job_at: datetime
    before_job: Sequence[Message]
    after_job: Sequence[Message]


@dataclass(frozen=True, slots=True)
class ReplayLog:
    """All messages of a log, in the order of time; those of one instant in the order of the file."""

    messages: Sequence[Message]
    ignored_columns: tuple[str, ...] = ()

    @property
    def whole_period(self) -> Period:
        first, last = self.messages[0].event, self.messages[-1].event
        return Period(first.occurred_at.date(), last.occurred_at.date())

    def share(self, number: int, *, of: int) -> ReplayLog:
        """The messages of some of the users; the shares from 0 to `of` - 1 are the whole."""
        return ReplayLog(tuple(message for message in self.messages if message.user_id.int % of == number))

    def first_messages(self, period: Period) -> list[Message]:
        """The first message of everybody who appears before the period ends."""
        first: dict[UUID, Message] = {}
        for message in self.between(None, period.ends_at):
            first.setdefault(message.user_id, message)
        return list(first.values())

    def count_reachable(self, period: Period) -> int:
        """How many have an address in one row or more before the period ends."""
        messages = self.between(None, period.ends_at)
        return len({message.user_id for message in messages if message.event.whatsapp_jid})

    def history(self, period: Period) -> Sequence[Message]:
        """What came before the period."""
        return self.between(None, period.begins_at)

    def days(self, period: Period) -> Iterator[Day]:
        """The days of the period, also those on which nothing came."""
        for number in range(period.days):
            begins_at = period.begins_at + number * DAY
            job_at = datetime.combine(begins_at.date(), engagement_settings().run_time)
            yield Day(
                date=begins_at.date(),
                job_at=job_at,
                before_job=self.between(begins_at, job_at),
                after_job=self.between(job_at, begins_at + DAY),
            )

    def between(self, begins_at: datetime | None, ends_at: datetime) -> Sequence[Message]:
        """What came from `begins_at` (None: the beginning) to just before `ends_at`."""
        start = 0 if begins_at is None else self._place_of(begins_at)
        return self.messages[start : self._place_of(ends_at)]

    def _place_of(self, moment: datetime) -> int:
        return bisect_left(self.messages, moment, key=lambda message: message.event.occurred_at)


def midnight_of(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime.combine(day, time(tzinfo=UTC))


def read_replay_log(path: Path) -> ReplayLog:
    """Read and check the whole log at `path`, before anything is played. Raises MalformedActivityLog."""
    with open_activity_log(path, with_text=True) as log:
        events = sorted(log.events, key=lambda event: event.occurred_at)
        ignored_columns = log.ignored_columns
    if not events:
        raise MalformedActivityLog(path, "there are no events below the header; nothing can be replayed")
    return ReplayLog(tuple(_messages(events)), ignored_columns)


def _messages(events: Iterable[Event]) -> Iterator[Message]:
    latest: dict[str, Message] = {}
    for event in events:
        before = latest.get(event.user)
        message = Message(
            user_id=before.user_id if before else user_id_of(event.user),
            event=event,
            event_before=before.event if before else None,
        )
        latest[event.user] = message
        yield message


def period_of(log: ReplayLog, *, first_date: date | None, last_date: date | None) -> Period:
    """The days asked for; where None is, from the first or to the last day of the log.

    Raises NothingToReplay if nothing happened in them, or if nobody can have meant so many.
    """
    whole = log.whole_period
    span = f"the log goes from {whole.first_date} to {whole.last_date}"
    period = Period(first_date or whole.first_date, last_date or whole.last_date)
    is_asked_for = first_date is not None and last_date is not None
    is_sane = period.days <= LONGEST_UNASKED and {period.first_date.year, period.last_date.year} <= {*YEARS}
    if not (is_asked_for or is_sane):
        raise NothingToReplay(f"{span}: that is not played unasked; choose days with --from and --to")
    if not (period.days > 0 and log.between(period.begins_at, period.ends_at)):
        raise NothingToReplay(
            f"{span}, and nothing happened on the days asked for; choose others with --from and --to"
        )
    return period
