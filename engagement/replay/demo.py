"""A demonstration: plays the last weeks of an activity log in this database, as if they ended now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db.models import F, OuterRef, Subquery
from uuid_utils.compat import uuid7

from engagement.conf import engagement_settings
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    RunStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.replay.activity_log import DEFAULT_LOCALE
from engagement.replay.loading import profile_of
from engagement.replay.period import Period, ReplayLog, read_replay_log
from engagement.replay.simulation import ORDINARY_TEXT
from engagement.replies import Preference
from engagement.schedule import first_run_after
from engagement.services.inbound_messages import Novelty, receive_message
from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.preferences import set_preference
from engagement.states import DAY, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.period import Message

DAYS: Final = 42
"""Enough for a goodbye, its end and a return, and for the dashboard's thirty days."""

PROFILES_PER_STATEMENT: Final = 2_000

_TABLES: Final = (
    UserProfile,
    UserEngagementState,
    EngagementStateTransition,
    EngagementMessage,
    EngagementJobRun,
)


class DatabaseNotEmpty(Exception):
    """A demonstration would mix with the rows of other programs."""

    def __init__(self) -> None:
        super().__init__("No demonstration is played, because the database has users, messages or runs.")


class DemonstrationFailed(Exception):
    """A run of the demonstration did not succeed. What was played before it stays."""


class Demonstration(NamedTuple):
    """What was played."""

    users: int
    events: int
    last_run_at: datetime


def play_demonstration(*, path: Path, as_of: datetime | None, now: datetime) -> Demonstration:
    """Play the log at `path` up to `as_of` (its last event), with a run on each of its last 42 days.

    All times are moved by whole days, so that the last run is the latest one that was due by `now`;
    events that would then be later than `now` are left out. Each goodbye is marked as sent a minute
    after its run. The runs and users that were played get the times at which they are said to begin.
    Transaction: none; each message and each batch has its own. Not repeatable.
    Raises DatabaseNotEmpty and MalformedActivityLog before anything is written, and DemonstrationFailed.
    """
    if any(table.objects.exists() for table in _TABLES):
        raise DatabaseNotEmpty
    log, last_run_at = _shifted(read_replay_log(path), as_of=as_of, now=now)
    period = Period((last_run_at - (DAYS - 1) * DAY).date(), last_run_at.date())
    add_profiles(log.messages)
    user_ids = {message.user_id for message in log.messages}
    receive_all(latest(log.until(period.begins_at)))
    for day in log.days(period, run_time=engagement_settings().run_time):
        receive_all(day.before_run)
        _run(day.run_at, user_ids)
        receive_all(day.after_run)
    receive_all(log.messages[len(log.until(period.ends_at)) :])
    _date_back_users(user_ids)
    return Demonstration(len(user_ids), len(log.messages), last_run_at)


def add_profiles(messages: Iterable[Message]) -> None:
    """Add the profile of each author, as their first message describes it."""
    profiles = [
        profile_of(user_id, event, now=event.occurred_at)
        for user_id, event, previous in messages
        if previous is None
    ]
    UserProfile.objects.bulk_create(profiles, batch_size=PROFILES_PER_STATEMENT)


def receive_all(messages: Iterable[Message]) -> int:
    """Receive messages through the services; returns how many of them made a user active again.

    Each comes after the changes that the log newly has of its author. A value that the log repeats is no
    change, so an opt-out by text outlasts an old value in the column.
    """
    returns = 0
    for user_id, event, previous in messages:
        now = event.occurred_at
        if previous and (event.locale, event.whatsapp_jid) != (previous.locale, previous.whatsapp_jid):
            profile = UserProfile.objects.filter(pk=user_id)
            locale = event.locale or DEFAULT_LOCALE
            profile.update(locale=locale, whatsapp_jid=event.whatsapp_jid, updated_at=now)
        if previous and bool(event.reengagement_opt_out) != bool(previous.reengagement_opt_out):
            preference = Preference.OPTED_OUT if event.reengagement_opt_out else Preference.OPTED_IN
            set_preference(user_id=user_id, preference=preference, now=now)
        text = event.text or ORDINARY_TEXT
        result = receive_message(user_id=user_id, text=text, received_at=now, now=now)
        if result.novelty is Novelty.NEW and result.transition:
            returns += result.transition.to_state == State.ACTIVE
    return returns


def _shifted(log: ReplayLog, *, as_of: datetime | None, now: datetime) -> tuple[ReplayLog, datetime]:
    """The log moved by whole days so that it ends at `now`, and the time of its last run."""
    ends_at = as_of or log.messages[-1].event.occurred_at
    last_run_at = _last_run_before(now)
    by = last_run_at - _last_run_before(ends_at)
    ends_at = min(ends_at, now - by)
    messages = (_moved(message, by) for message in log.messages if message.event.occurred_at <= ends_at)
    return ReplayLog(tuple(messages)), last_run_at


def _last_run_before(instant: datetime) -> datetime:
    """The latest scheduled run that had started by `instant`."""
    return first_run_after(instant, run_time=engagement_settings().run_time) - DAY


def _moved(message: Message, by: timedelta) -> Message:
    return message._replace(event=replace(message.event, occurred_at=message.event.occurred_at + by))


def latest(history: Sequence[Message]) -> Iterator[Message]:
    """The last message of each user, with what has changed since the first: no other has an effect."""
    first: dict[UUID, Message] = {}
    last: dict[UUID, Message] = {}
    for message in history:
        first.setdefault(message.user_id, message)
        last[message.user_id] = message
    for user_id, message in last.items():
        yield message if message.previous is None else message._replace(previous=first[user_id].event)


def _run(now: datetime, user_ids: Collection[UUID]) -> None:
    """Run the daily job as of `now`, date the run back, and mark the goodbyes that it queued as sent."""
    result = run_daily_job(request=RunRequest(job_id=uuid7(), now=now))
    if result.status is not RunStatus.SUCCEEDED:
        reason = result.failure or "some users could not be moved; the log says why."
        raise DemonstrationFailed(f"The run of {now.date()} failed: {reason}")
    run = EngagementJobRun.objects.filter(pk=result.job_id)
    lasted = F("finished_at") - F("started_at")
    run.update(started_at=F("now"), last_seen_at=F("now") + lasted, finished_at=F("now") + lasted)
    queued = EngagementMessage.objects.filter(user_id__any_of=user_ids, scheduled_for=now)
    queued.filter(status=MessageStatus.PENDING).update(
        status=MessageStatus.SENT, sent_at=now + timedelta(minutes=1)
    )


def _date_back_users(user_ids: Collection[UUID]) -> None:
    """Set the beginning of each user's state row to that of the profile, which is the first message."""
    first_seen_at = UserProfile.objects.filter(pk=OuterRef("user")).values("created_at")
    users = UserEngagementState.objects.filter(user_id__any_of=user_ids)
    users.update(created_at=Subquery(first_seen_at))
