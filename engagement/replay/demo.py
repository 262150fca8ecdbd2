"""A demonstration: the last weeks of an activity log, played in this database as if they were these weeks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db.models import F, OuterRef, Subquery

from engagement.conf import engagement_settings
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    MessageStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.replay.replay_log import Period, ReplayLog, read_replay_log
from engagement.replay.replay_player import Player
from engagement.schedule import first_run_after
from engagement.services.resilience.stop import StopRequest
from engagement.states import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.replay_log import Message
    from engagement.services.job.result import RunResult

DAYS: Final = 42
"""Enough for a goodbye, its end and a return, and for the dashboard's thirty days."""


class Demonstration(NamedTuple):
    """What was played."""

    users: int
    events: int
    last_run_at: datetime


def play_demonstration(*, path: Path, as_of: datetime | None, now: datetime) -> Demonstration:
    """Play what the log at `path` holds up to `as_of` (its last event), with a run on each of its last days.

    All times are moved by whole days, so that the last run is the latest that was due by `now`; what
    would then lie behind `now` is left out. What the runs queue is marked as sent, as the assistant's
    sender would, and each run and user began when they are played to have begun.
    Transaction: each message and each batch has one of its own. For a database without users; what
    goes wrong half-way leaves what was played until then.
    Raises MalformedActivityLog before anything is played, ReplayFailed if a run fails.
    """
    log = read_replay_log(path)
    ends_at = as_of or log.messages[-1].event.occurred_at
    last_run_at = _last_run_before(now)
    by = last_run_at - _last_run_before(ends_at)
    # What stands later in its day than `now` in this one has not happened yet.
    log = ReplayLog(tuple(_moved(log, until=min(ends_at, now - by), by=by)))
    period = Period((last_run_at - (DAYS - 1) * DAY).date(), last_run_at.date())
    until_next_run = replace(period, last_date=period.last_date + DAY)
    player = Player(engagement_settings().policy, StopRequest(), is_rehearsal=False)
    first_messages = log.first_messages(until_next_run)
    player.introduce(first_messages)
    player.receive_all(_latest(log.history(period)))
    for day in log.days(period):
        player.receive_all(day.before_job)
        _date_back_run(player.run_job(now=day.job_at))
        _send(at=day.job_at + timedelta(minutes=1))
        player.receive_all(day.after_job)
    player.receive_all(log.between(period.ends_at, until_next_run.ends_at))
    _date_back_users()
    return Demonstration(len(first_messages), len(log.messages), last_run_at)


def _last_run_before(instant: datetime) -> datetime:
    """The latest scheduled run that had started by `instant`."""
    return first_run_after(instant, run_time=engagement_settings().run_time) - DAY


def _moved(log: ReplayLog, *, until: datetime, by: timedelta) -> Iterator[Message]:
    for message in log.messages:
        if message.event.occurred_at <= until:
            event = replace(message.event, occurred_at=message.event.occurred_at + by)
            yield message._replace(event=event)


def _latest(history: Sequence[Message]) -> list[Message]:
    """The last message of each user, with what has changed since the first: no other moves anybody."""
    first: dict[UUID, Message] = {}
    last: dict[UUID, Message] = {}
    for message in history:
        before = first.setdefault(message.user_id, message).event
        last[message.user_id] = message._replace(event_before=before)
    return list(last.values())


def _send(*, at: datetime) -> None:
    pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    pending.update(status=MessageStatus.SENT, sent_at=at)


def _date_back_run(result: RunResult) -> None:
    """Have the run begin at the instant that it was for, and last as long as it did."""
    lasted = F("finished_at") - F("started_at")
    runs = EngagementJobRun.objects.filter(pk=result.job_id)
    runs.update(started_at=F("now"), last_seen_at=F("now") + lasted, finished_at=F("now") + lasted)


def _date_back_users() -> None:
    """Have each user stand where they begin since they are known, which is since their first message."""
    known_since = UserProfile.objects.filter(pk=OuterRef("user")).values("created_at")
    UserEngagementState.objects.update(created_at=Subquery(known_since))
