"""Replays an activity log: applies the rules to its users in memory, day by day.

The rules are those of the services (states.py, replies.py). What the services do around them is repeated
here in a few lines; a test plays one log through the services as well, and compares.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.conf import engagement_settings
from engagement.replay.comparison import Counts, DayResult, Goodbye, PolicyResult, ReplayResult, compare
from engagement.replay.period import period_of, read_replay_log
from engagement.replies import Preference, preference_in, trigger_of
from engagement.services.resilience.stop import StopRequest
from engagement.states import (
    CHECK_OF,
    CHECKS,
    DAY,
    State,
    Trigger,
    UserState,
    next_state,
    timestamps_on_entering,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, datetime
    from pathlib import Path
    from uuid import UUID

    from engagement.conf import EngagementSettings
    from engagement.replay.period import Message, Period, ReplayLog
    from engagement.services.job.progress import RunListener
    from engagement.states import Check

ORDINARY_TEXT: Final = "oi"
"""Stands for a message whose text the log does not have: neither a reply nor a wish to opt out."""


class ReplayInterrupted(Exception):
    """The replay was asked to stop."""


def replay_activity_log(
    *,
    path: Path,
    first_date: date | None = None,
    last_date: date | None = None,
    inactivity_days: Sequence[int] = (),
    stop: StopRequest | None = None,
    progress: RunListener | None = None,
) -> ReplayResult:
    """Play the log at `path` once for each of `inactivity_days`, or with the settings' policy.

    On each day (UTC) come the messages before the run, the run, and the other messages. The days default
    to those of the log. Messages before the first day are played without runs.
    Transaction: none; the database is not used. Repeating gives the same result, except the duration.
    Raises MalformedActivityLog, NothingToReplay, and ReplayInterrupted after `stop` is set.
    """
    started = time.monotonic()
    log = read_replay_log(path)
    period = period_of(log, first_date=first_date, last_date=last_date)
    settings, stop = engagement_settings(), stop or StopRequest()
    policies = [replace(settings.policy, inactivity=number * DAY) for number in inactivity_days]
    policies = policies or [settings.policy]
    if progress:
        progress.due_counted(period.days * len(policies))
    played = [replace(settings, policy=policy) for policy in policies]
    results = [_play(log, period, each, stop=stop, progress=progress) for each in played]
    messages = log.until(period.ends_at)
    users = {message.user_id for message in messages}
    return ReplayResult(
        period=period,
        users=len(users),
        unreachable=len(users - {message.user_id for message in messages if message.event.whatsapp_jid}),
        events=len(messages),
        history_events=len(log.until(period.begins_at)),
        policies=results,
        duration=timedelta(seconds=time.monotonic() - started),
        ignored_columns=log.ignored_columns,
    )


def _play(
    log: ReplayLog,
    period: Period,
    settings: EngagementSettings,
    *,
    stop: StopRequest,
    progress: RunListener | None,
) -> PolicyResult:
    simulation, days = Simulation(settings), []
    simulation.receive_all(log.until(period.begins_at))
    for day in log.days(period, run_time=settings.run_time):
        if stop.is_set():
            raise ReplayInterrupted
        returns = simulation.receive_all(day.before_run)
        moved = simulation.run(now=day.run_at)
        returns += simulation.receive_all(day.after_run)
        counts = Counts(*(moved[check.trigger] for check in CHECKS))._replace(returns=returns)
        days.append(DayResult(day.run_at.date(), counts, dict(simulation.count_by_state)))
        if progress:
            progress.users_done(1)
    seen_at = defaultdict(list)
    for message in log.messages:
        seen_at[message.user_id].append(message.event.occurred_at)
    comparison = compare(goodbyes=simulation.goodbyes, answers=simulation.answers, seen_at=seen_at)
    return PolicyResult(settings.policy.inactivity // DAY, days, comparison)


@dataclass(slots=True)
class _User:
    """A user's state row and profile, as far as the rules need them."""

    status: UserState
    whatsapp_jid: str | None
    is_opted_out: bool
    opted_out_at: datetime | None = None
    """None if the first event says so."""
    last_moved_by: tuple[datetime, str] | None = None
    """The message that made the user's latest transition by a message."""

    def opt_out(self, at: datetime) -> None:
        self.is_opted_out, self.opted_out_at = True, at

    def due_at(self, check: Check) -> datetime:
        due_at: datetime = getattr(self.status, check.due_column)
        return due_at


class Simulation:
    """The users of a log under one policy. Messages and runs must come in the order of time."""

    def __init__(self, settings: EngagementSettings) -> None:
        self.goodbyes: list[Goodbye] = []
        self.answers: set[tuple[UUID, datetime]] = set()
        self.count_by_state: Counter[State] = Counter()
        self._policy, self._preferences = settings.policy, settings.preferences
        self._users: dict[UUID, _User] = {}
        # In due order without sorting: users join as time goes by, and the periods of a policy are constant.
        self._queues: dict[Check, deque[tuple[datetime, _User]]] = {check: deque() for check in CHECKS}

    def receive_all(self, messages: Sequence[Message]) -> int:
        """Apply messages as `receive_message` does; returns how many of them made a user active again."""
        return sum(map(self._receive, messages))

    def run(self, *, now: datetime) -> Counter[Trigger]:
        """Apply the checks as the daily job does; returns how many users each trigger moved."""
        moved: Counter[Trigger] = Counter()
        for check in CHECKS:
            for user in self._due(check, now=now):
                if check.sends_goodbye:
                    self.goodbyes.append(Goodbye(user.status.user_id, now, user.status.last_activity_at))
                self._move(user, check.trigger, now=now)
                moved[check.trigger] += 1
        return moved

    def _due(self, check: Check, *, now: datetime) -> Iterator[_User]:
        """Remove the users from the check's queue whose time has come, and yield those whom it moves."""
        queue = self._queues[check]
        while queue and queue[0][0] < check.cutoff_at(now=now, policy=self._policy):
            due_at, user = queue.popleft()
            if user.status.state != check.state or user.due_at(check) != due_at:
                continue
            # Only a message makes a skipped user reachable, and it puts them into the queue again.
            if not check.sends_goodbye or (user.whatsapp_jid and not user.is_opted_out):
                yield user

    def _receive(self, message: Message) -> bool:
        user, heard_at = self._author(message), message.event.occurred_at
        text = message.event.text or ORDINARY_TEXT
        preference = preference_in(text, preferences=self._preferences)
        is_return = False
        # The message that moved the user last changes nothing when it is repeated.
        if user.last_moved_by != (heard_at, text):
            # Goodbyes are assumed to be sent at once.
            status = user.status
            trigger = trigger_of(
                text, state=status.state, heard_at=heard_at, answerable_from=status.goodbye_sent_at
            )
            if self._move(user, trigger, now=heard_at):
                user.last_moved_by = heard_at, text
                is_return = user.status.state == State.ACTIVE
            if preference or trigger is not Trigger.USER_MESSAGE:
                self.answers.add((message.user_id, heard_at))
        match preference:
            case Preference.OPTED_OUT:
                user.opt_out(heard_at)
            # Opting in needs proof that it came later than the opt-out.
            case Preference.OPTED_IN if user.opted_out_at is None or user.opted_out_at < heard_at:
                user.is_opted_out = False
        return is_return

    def _author(self, message: Message) -> _User:
        """The author, with the changes that the log newly has. A value that it repeats is no change."""
        user_id, event, previous = message
        if user_id not in self._users:
            status = UserState(user_id, State.ACTIVE, event.occurred_at, None, None, None)
            is_opted_out = bool(event.reengagement_opt_out)
            self._users[user_id] = _User(status, event.whatsapp_jid, is_opted_out)
            self.count_by_state[State.ACTIVE] += 1
        user = self._users[user_id]
        user.whatsapp_jid = event.whatsapp_jid
        if previous and bool(previous.reengagement_opt_out) != bool(event.reengagement_opt_out):
            user.is_opted_out = False
            if event.reengagement_opt_out:
                user.opt_out(event.occurred_at)
        return user

    def _move(self, user: _User, trigger: Trigger, *, now: datetime) -> bool:
        """Apply a trigger as the state machine does; returns whether it was a transition."""
        former, target = State(user.status.state), next_state(user.status, trigger)
        state = target or former
        user.status = user.status._replace(
            state=state,
            last_activity_at=now if trigger is Trigger.USER_MESSAGE else user.status.last_activity_at,
            **timestamps_on_entering(state, now=now, policy=self._policy),
        )
        self.count_by_state[former] -= 1
        self.count_by_state[state] += 1
        if check := CHECK_OF.get(state):
            self._queues[check].append((user.due_at(check), user))
        return target is not None
