"""A demonstration: plays the last weeks of an activity log in this database, as if they ended now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count, cycle
from typing import TYPE_CHECKING, Final, NamedTuple

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Greatest

from engagement.conf import engagement_settings
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    RunStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.replay.demo_run import DatabaseNotEmpty, DemonstrationFailed, run_demonstration_job
from engagement.replay.fates import FATES, FATES_PER_RUN, READ
from engagement.replay.period import Period, ReplayLog, read_replay_log
from engagement.replay.receiving import add_profiles, latest, receive_all, settle
from engagement.replies import Preference
from engagement.schedule import first_run_after
from engagement.selectors.deliveries import WAITING_CAP, WAITING_HOURS
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.outcomes import resolve_unknown
from engagement.services.delivery.settings import delivery_settings
from engagement.services.inbound_messages import receive_and_reply
from engagement.services.message_queue import BY_STAFF, cancel_messages
from engagement.services.support import Retry, bring_back, retry_message, set_preference_manually
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_run import undo_run
from engagement.states import DAY, HOUR, MINUTE, State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

    from engagement.replay.fates import Fate
    from engagement.replay.period import Message

DAYS: Final = 42
"""Enough for a goodbye, its end and a return, and for the dashboard's thirty days."""
UNDONE_DAYS_AGO: Final = 9
"""How many days before the last run there is one that is undone, and made again."""
UNDONE_AFTER: Final = 40 * MINUTE
RETRIED_AFTER: Final = 3 * HOUR
RESOLVED_AFTER: Final = 26 * HOUR
UNRESOLVED_FOR: Final = 7 * DAY
"""Unknown outcomes of this time are left for the reader of the admin."""

BACKEND: Final = "demonstration"
TEAM: Final = ("demo-beatriz", "demo-rafael")
"""The accounts that perform manual actions. Nobody can log in with them."""


_TABLES: Final = (
    UserProfile,
    UserEngagementState,
    EngagementStateTransition,
    EngagementMessage,
    EngagementJobRun,
)


class Demonstration(NamedTuple):
    """What was played."""

    users: int
    events: int
    last_run_at: datetime


def play_demonstration(*, path: Path, as_of: datetime | None, now: datetime) -> Demonstration:
    """Play the log at `path` up to `as_of` (its last event), with a run on each of its last 42 days.

    All times are moved by whole days, so that the last run is the latest one that was due by `now`;
    events that would then be later than `now` are left out. Goodbyes are sent within the hours, not by a
    sender: the rows are written as one would leave them. Some fail, some users answer, two staff accounts
    perform manual actions, and one run is undone: the same each time. The runs and users that were played
    get the times at which they are said to begin.
    Transaction: none; each message and each batch has its own. Not repeatable.
    Raises DatabaseNotEmpty, MalformedActivityLog and ImproperlyConfigured before anything is written, and
    DemonstrationFailed.
    """
    if any(table.objects.exists() for table in _TABLES):
        raise DatabaseNotEmpty
    # A wrong setting must not come to light when half is played.
    delivery_settings()
    log, last_run_at = _shifted(read_replay_log(path), as_of=as_of, now=now)
    add_profiles(log.messages)
    user_ids = {message.user_id for message in log.messages}
    _Play(user_ids, last_run_at=last_run_at, now=now).carry_out(log)
    _date_back_users(user_ids)
    return Demonstration(len(user_ids), len(log.messages), last_run_at)


class _Timeline:
    """What happens, in the order of time. Whatever happens may add what happens later."""

    def __init__(self) -> None:
        self._events: list[tuple[datetime, int, Callable[[], object]]] = []
        self._numbers = count()

    def add(self, at: datetime, happen: Callable[[], object]) -> None:
        """Of two events at the same time, the one that is added first comes first."""
        heappush(self._events, (at, next(self._numbers), happen))

    def play(self, *, until: datetime) -> None:
        while self._events and self._events[0][0] <= until:
            heappop(self._events)[2]()


class _Play:
    """One demonstration: runs, messages, the people who get them, and the team."""

    def __init__(self, user_ids: Collection[UUID], *, last_run_at: datetime, now: datetime) -> None:
        self._user_ids = user_ids
        self._last_run_at = last_run_at
        self._now = now
        self._timeline = _Timeline()
        self._fates = cycle(FATES)
        self._team = cycle(_accounts())
        self._wait = engagement_settings().policy.goodbye_wait

    def carry_out(self, log: ReplayLog) -> None:
        period = Period((self._last_run_at - (DAYS - 1) * DAY).date(), self._last_run_at.date())
        past = log.until(period.begins_at)
        settle(latest(past))
        for number in range(DAYS):
            self._plan_day(number, run_at=self._last_run_at - (DAYS - 1 - number) * DAY)
        for message in log.messages[len(past) :]:
            self._timeline.add(message.event.occurred_at, partial(receive_all, [message]))
        self._timeline.play(until=self._now)
        self._hold_back()

    def _plan_day(self, number: int, *, run_at: datetime) -> None:
        self._timeline.add(run_at, partial(self._run, run_at))
        self._timeline.add(_sends_at(run_at), partial(self._send, _sends_at(run_at)))
        if number % 7 == 4:  # noqa: PLR2004
            self._timeline.add(run_at + 2 * HOUR, partial(self._cancel, run_at + 2 * HOUR))
        if number % 5 == 1:
            self._timeline.add(run_at + 8 * HOUR, partial(self._opt_out, run_at + 8 * HOUR))
        if number % 4 == 3:  # noqa: PLR2004
            self._timeline.add(run_at + 9 * HOUR, partial(self._mark_as_active, run_at + 9 * HOUR))

    def _run(self, now: datetime) -> None:
        """Run the daily job as of `now`, and date the run and its goodbyes back."""
        result = run_demonstration_job(now)
        run = EngagementJobRun.objects.filter(pk=result.job_id)
        lasted = F("finished_at") - F("started_at")
        run.update(started_at=F("now"), last_seen_at=F("now") + lasted, finished_at=F("now") + lasted)
        self._pending().filter(scheduled_for=now).update(created_at=now)
        if result.succeeded and now == self._last_run_at - UNDONE_DAYS_AGO * DAY:
            undone_at = now + UNDONE_AFTER
            self._timeline.add(undone_at, partial(_undo, result.job_id, now=undone_at))
            self._timeline.add(now + HOUR, partial(self._run, now + HOUR))

    def _pending(self) -> QuerySet[EngagementMessage]:
        pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
        return pending.filter(user_id__any_of=self._user_ids).order_by("scheduled_for", "user_id")

    def _send(self, now: datetime) -> None:
        """Send what is pending, but for some goodbyes of the last run."""
        messages = list(self._pending())
        if now > self._last_run_at:
            messages = messages[: len(messages) // 2]
        for number, message in enumerate(messages[:FATES_PER_RUN]):
            at = min(now + number * timedelta(seconds=7), self._now)
            self._send_one(message, next(self._fates), at=at)
        ids = [message.id for message in messages[FATES_PER_RUN:]]
        times = {column: now + after for column, after in READ.delivery.receipts.items()}
        EngagementMessage.objects.filter(pk__any_of=ids).update(
            status=MessageStatus.SENT, backend=BACKEND, claimed_at=now, sent_at=now, **times
        )
        self._extend_waits([message.user_id for message in messages], now=now)

    def _send_one(self, message: EngagementMessage, fate: Fate, *, at: datetime) -> None:
        attempt = Attempt.at(at)
        message.backend, message.attempt_id, message.claimed_at = BACKEND, attempt.id, attempt.claimed_at
        message.status = fate.delivery.status
        message.sent_at = attempt.claimed_at if message.status == MessageStatus.SENT else None
        message.retry_count += message.status == MessageStatus.FAILED
        times = {column: attempt.claimed_at + after for column, after in fate.delivery.receipts.items()}
        arrived = {column: instant for column, instant in times.items() if instant <= self._now}
        for column, value in {**fate.delivery.columns, **arrived}.items():
            setattr(message, column, value)
        message.save()
        self._plan_consequences(message, fate, at=attempt.claimed_at)

    def _plan_consequences(self, message: EngagementMessage, fate: Fate, *, at: datetime) -> None:
        if fate.answer:
            answers_at = at + fate.answers_after
            self._timeline.add(answers_at, partial(self._answer, message, fate.answer, at=answers_at))
        elif message.status == MessageStatus.FAILED:
            self._timeline.add(at + RETRIED_AFTER, partial(self._retry, message, at=at + RETRIED_AFTER))
        elif message.status == MessageStatus.UNKNOWN and at < self._last_run_at - UNRESOLVED_FOR:
            resolved_at = at + RESOLVED_AFTER
            self._timeline.add(resolved_at, partial(self._resolve, message, at=resolved_at))

    def _extend_waits(self, user_ids: Collection[UUID], *, now: datetime) -> None:
        waiting = UserEngagementState.objects.filter(state=State.GOODBYE_SENT, user_id__any_of=user_ids)
        waiting.update(goodbye_expires_at=Greatest("goodbye_expires_at", now + self._wait))

    def _answer(self, message: EngagementMessage, text: str, *, at: datetime) -> None:
        """The user writes; the assistant's reply is sent at once."""
        receive_and_reply(
            user_id=message.user_id, text=text, received_at=at, now=at, message_id=f"{BACKEND}:{message.id}"
        )
        for reply in self._pending().filter(user_id=message.user_id, message_type=MessageType.REPLY):
            self._send_one(reply, READ, at=at + timedelta(seconds=2))

    def _retry(self, message: EngagementMessage, *, at: datetime) -> None:
        account = next(self._team)
        is_every_other = account.get_username() == TEAM[0]
        if is_every_other and retry_message(message_id=message.id, now=at) is Retry.QUEUED:
            _record(message.user_id, f"Retried message {message.id} (goodbye).", account=account, at=at)
            message.refresh_from_db()
            self._send_one(message, READ, at=at + MINUTE)

    def _resolve(self, message: EngagementMessage, *, at: datetime) -> None:
        account = next(self._team)
        arrived = account.get_username() == TEAM[0]
        if resolve_unknown(message_id=message.id, arrived=arrived):
            done = "Resolved as arrived" if arrived else "Resolved as not arrived"
            _record(message.user_id, f"{done}: message {message.id} (goodbye).", account=account, at=at)

    def _cancel(self, now: datetime) -> None:
        message = self._pending().first()
        if message and cancel_messages(message_ids=[message.id], reason=BY_STAFF):
            sentence = f"Cancelled message {message.id} (goodbye)."
            _record(message.user_id, sentence, account=next(self._team), at=now)

    def _opt_out(self, now: datetime) -> None:
        if user_id := self._someone(State.GOODBYE_SENT):
            set_preference_manually(user_id=user_id, preference=Preference.OPTED_OUT, now=now)
            _record(user_id, "Opted out.", account=next(self._team), at=now)

    def _mark_as_active(self, now: datetime) -> None:
        if user_id := self._someone(State.DORMANT):
            bring_back(user_id=user_id, performed_by=next(self._team).get_username(), now=now)

    def _someone(self, state: State) -> UUID | None:
        """The user in this state who was active last, of those who have not opted out."""
        users = UserEngagementState.objects.filter(state=state, user__reengagement_opt_out=False)
        users = users.filter(user_id__any_of=self._user_ids).order_by("-last_activity_at", "user_id")
        return users.values_list("user_id", flat=True).first()

    def _hold_back(self) -> None:
        """Say why the goodbyes of the last run are still pending."""
        sends_at = _sends_at(self._last_run_at)
        is_early = sends_at > self._now
        self._pending().update(
            outcome_reason=WAITING_HOURS if is_early else WAITING_CAP,
            next_attempt_at=sends_at if is_early else self._now + HOUR,
        )


def _accounts() -> list[AbstractBaseUser]:
    """The team. The accounts are inactive and have no password."""
    model = get_user_model()
    accounts: list[AbstractBaseUser] = []
    for name in TEAM:
        account, is_new = model.objects.get_or_create(
            **{model.USERNAME_FIELD: name}, defaults={"is_active": False}
        )
        if is_new:
            account.set_unusable_password()
            account.save()
        accounts.append(account)
    return accounts


def _record(user_id: UUID, sentence: str, *, account: AbstractBaseUser, at: datetime) -> None:
    """Add a line to the admin's log of the user, as the admin does."""
    LogEntry.objects.create(
        user_id=account.pk,
        content_type=ContentType.objects.get_for_model(UserProfile),
        object_id=str(user_id),
        object_repr=str(user_id),
        action_flag=CHANGE,
        change_message=sentence,
        action_time=at,
    )


def _sends_at(run_at: datetime) -> datetime:
    """When the goodbyes of a run are sent: when the hours begin."""
    settings = delivery_settings()
    return settings.hours.next_open_at(run_at, zone=settings.time_zone) if settings.hours else run_at


def _undo(job_id: UUID, *, now: datetime) -> None:
    result = undo_run(request=UndoRequest(job_id=job_id, now=now))
    if result.status is not RunStatus.SUCCEEDED:
        raise DemonstrationFailed(f"The run {job_id} could not be undone: {result.failure or 'see the log'}")


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


def _date_back_users(user_ids: Collection[UUID]) -> None:
    """Set the beginning of each user's state row to that of the profile, which is the first message."""
    first_seen_at = UserProfile.objects.filter(pk=OuterRef("user")).values("created_at")
    users = UserEngagementState.objects.filter(user_id__any_of=user_ids)
    users.update(created_at=Subquery(first_seen_at))
