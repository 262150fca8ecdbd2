"""The replay: what the policy would have done to the people of an activity log."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.replay.replay_log import period_of, read_replay_log
from engagement.replay.replay_player import Player
from engagement.replay.replay_result import PolicyResult, ReplayResult, Spoken, compare
from engagement.replay.replay_shares import play_shares, share_count
from engagement.replay.scratch_database import drop_left_overs, scratch_database
from engagement.selectors import audit_log
from engagement.services.resilience.stop import StopRequest
from engagement.states import DAY, RESPONSE_TYPES, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.replay_log import Period, ReplayLog
    from engagement.replay.replay_result import Comparison
    from engagement.states import Policy


class DayWatcher(Protocol):
    """Somebody who watches a replay."""

    def started(self, *, due: int) -> None: ...

    def day_done(self) -> None: ...


def replay_activity_log(
    *,
    path: Path,
    first_date: date | None = None,
    last_date: date | None = None,
    inactivity_days: Sequence[int] = (),
    stop: StopRequest | None = None,
    progress: DayWatcher | None = None,
) -> ReplayResult:
    """Play the log at `path` day by day through the services, once for each of `inactivity_days`.

    The days are UTC's: what came before 06:00, the job at 06:00:00, what came then and later. None
    is the first or the last day of the log. What came before the first day is taken in too, without
    the job, so that on the first day the job meets whoever has been silent. Without
    `inactivity_days` the settings' policy is played.

    Transaction: none of the caller's; everything happens in scratch databases, and other tables are
    neither read nor written. Forks, so the calling process must have no other threads.
    Repeating gives the same, but for the duration.
    Raises MalformedActivityLog and NothingToReplay before there is a database; NoScratchDatabase,
    ReplayFailed, and ReplayInterrupted when `stop` was asked to. No database is left in any case.
    """
    started = time.monotonic()
    refuse_misspelt_names()
    stop = stop or StopRequest()
    log = read_replay_log(path)
    period = period_of(log, first_date=first_date, last_date=last_date)
    policies = _policies(inactivity_days)
    users = len(log.first_messages(period))
    if progress:
        progress.started(due=period.days * len(policies))
    drop_left_overs()
    results = play_shares(
        log,
        shares=share_count(users),
        play=partial(_play_all, period, policies),
        stop=stop,
        day_done=progress.day_done if progress else _unwatched,
    )
    return ReplayResult(
        period=period,
        users=users,
        unreachable=users - log.count_reachable(period),
        events=len(log.between(None, period.ends_at)),
        history_events=len(log.history(period)),
        policies=results,
        duration=timedelta(seconds=time.monotonic() - started),
        ignored_columns=log.ignored_columns,
    )


def _policies(inactivity_days: Sequence[int]) -> list[Policy]:
    policy = engagement_settings().policy
    return [replace(policy, inactivity=days * DAY) for days in inactivity_days] or [policy]


def _unwatched() -> None:
    pass


def _play_all(
    period: Period,
    policies: Sequence[Policy],
    log: ReplayLog,
    stop: StopRequest,
    day_done: Callable[[], None],
) -> list[PolicyResult]:
    return [_play(log, period, policy, stop=stop, day_done=day_done) for policy in policies]


def _play(
    log: ReplayLog, period: Period, policy: Policy, *, stop: StopRequest, day_done: Callable[[], None]
) -> PolicyResult:
    player, days = Player(policy, stop), []
    with scratch_database():
        player.introduce(log.first_messages(period))
        player.receive_all(log.history(period))
        for day in log.days(period):
            days.append(player.play_day(day))
            day_done()
        comparison = _compare(log)
    return PolicyResult(policy.inactivity // DAY, days, comparison)


def _compare(log: ReplayLog) -> Comparison:
    """Confront the audit log of the scratch database with the whole log, also behind the period."""
    goodbyes = audit_log.transitions_by([Trigger.INACTIVITY_14D])
    answers = audit_log.transitions_by(set(RESPONSE_TYPES) - {Trigger.GOODBYE_TIMEOUT})
    return compare(
        goodbyes=[Spoken(*goodbye) for goodbye in goodbyes],
        answers={Spoken(*answer) for answer in answers},
        seen_at=_seen_at(log),
    )


def _seen_at(log: ReplayLog) -> Mapping[UUID, Sequence[datetime]]:
    seen_at: dict[UUID, list[datetime]] = defaultdict(list)
    for message in log.messages:
        seen_at[message.user_id].append(message.event.occurred_at)
    return seen_at
