"""The simulation and the services agree on a log that has everything that can happen in one."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from engagement.conf import engagement_settings
from engagement.models import EngagementMessage, EngagementStateTransition
from engagement.replay.comparison import Comparison, Counts, DayResult, Goodbye, compare
from engagement.replay.period import period_of, read_replay_log
from engagement.replay.receiving import add_profiles, receive_all
from engagement.replay.simulation import replay_activity_log
from engagement.replies import preference_in
from engagement.schedule import DEFAULT_RUN_TIME
from engagement.selectors import due_users
from engagement.states import CHECKS, RESPONSE_TYPES
from tests.integration.replay.logs import MIDNIGHT, TICK, Row, write_log
from tests.running import run_job
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from pytest_django.fixtures import Settings

    from engagement.replay.period import Period, ReplayLog

RUN: Final = MIDNIGHT + 6 * HOUR
INACTIVITY_DAYS: Final = 3
GOODBYE: Final = RUN + INACTIVITY_DAYS * DAY
"""The run that sends a goodbye to users whose only message comes before the first run."""
TEXTS: Final = (
    *("1", "2.", " (3)", "CONFUSED", "ocupado", "tudo  certo", "1 2", "12"),
    *("STOP!", "parar", "Start.", "parar de fumar", "oi", ""),
)
OUT: Final = {"reengagement_opt_out": "true"}
NO_ADDRESS: Final = {"whatsapp_jid": ""}


def replies() -> Iterator[Row]:
    """Each text, at several times around the goodbye; then the same message again, and a later one."""
    moments = (-TICK, timedelta(0), TICK, 48 * HOUR, 48 * HOUR + TICK, 7 * DAY, 7 * DAY + TICK)
    for number, text in enumerate(TEXTS):
        for is_last, moment in enumerate((moments[number % 7], moments[(number + 1) % 7])):
            user = f"replies {text} after {moment}"
            yield Row(user, MIDNIGHT)
            yield Row(user, GOODBYE + moment, text)
            yield Row(user, GOODBYE + moment, text)
            if not is_last:
                yield Row(user, GOODBYE + moment + 10 * HOUR, "3")


def wishes() -> Iterator[Row]:
    """Opting out and in by text and by column; what the log repeats is no wish."""
    yield from (Row("opts out by text", MIDNIGHT, "parar"), Row("opts out by text", MIDNIGHT + HOUR))
    yield from (
        Row("opts in by text", MIDNIGHT, **OUT),
        Row("opts in by text", MIDNIGHT + HOUR, "voltar", **OUT),
    )
    yield from (Row("opts out", MIDNIGHT), Row("opts out", MIDNIGHT + HOUR, **OUT))
    yield from (Row("opts in", MIDNIGHT, **OUT), Row("opts in", MIDNIGHT + HOUR))
    yield from (Row("opts in late", MIDNIGHT, **OUT), Row("opts in late", MIDNIGHT + 9 * DAY))
    yield from (Row("both at once", MIDNIGHT), Row("both at once", MIDNIGHT + HOUR, "start", **OUT))
    yield from (
        Row("changes", MIDNIGHT, "stop"),
        Row("changes", MIDNIGHT, "start"),
        Row("changes", MIDNIGHT, "stop"),
    )
    yield from (
        Row("no address", MIDNIGHT, **NO_ADDRESS),
        Row("no address", MIDNIGHT + 8 * DAY, **NO_ADDRESS),
    )
    yield from (Row("gets one", MIDNIGHT, **NO_ADDRESS), Row("gets one", MIDNIGHT + 8 * DAY))
    yield from (Row("loses it", MIDNIGHT), Row("loses it", MIDNIGHT + HOUR, **NO_ADDRESS))


def same_second() -> Iterator[Row]:
    """Several messages of one user at the same time: at that of the run, and an hour later."""
    for at in (GOODBYE, GOODBYE + HOUR):
        for texts in (
            ("1", "1"),
            ("1", "oi"),
            ("oi", "1"),
            ("1", "oi", "1"),
            ("2", "", "oi"),
            ("3", "stop", "3"),
        ):
            user = f"writes {texts} at {at}"
            yield Row(user, MIDNIGHT)
            yield from (Row(user, at, text) for text in texts)


def around_runs() -> Iterator[Row]:
    """Single messages just before, at and just after a run, in the period and before it."""
    for moment in (-9 * DAY, -TICK, 6 * HOUR - TICK, 6 * HOUR, 6 * HOUR + TICK, DAY, 20 * DAY):
        yield Row(f"writes once at {moment}", MIDNIGHT + moment)


def anything() -> Iterator[Row]:
    """Messages of eight users, chosen at random, but the same in each test run."""
    choice = random.Random(14).choice  # noqa: S311  reproducible
    moments = (timedelta(0), 6 * HOUR - TICK, 6 * HOUR, 6 * HOUR + TICK, 12 * HOUR, DAY - TICK)
    for _ in range(120):
        at = MIDNIGHT + choice(range(26)) * DAY + choice(moments)
        opt_out, jid = choice(["false"] * 5 + ["true"]), choice(["99900000002@s.whatsapp.net"] * 5 + [""])
        yield Row(f"random {choice(range(8))}", at, choice(TEXTS), opt_out, jid)


def play_through_services(log: ReplayLog, period: Period) -> Iterator[DayResult]:
    add_profiles(log.messages)
    receive_all(log.until(period.begins_at))
    for day in log.days(period, run_time=DEFAULT_RUN_TIME):
        returns = receive_all(day.before_run)
        checks = run_job(now=day.run_at).checks
        # A replay assumes that goodbyes are sent at once.
        queued = EngagementMessage.objects.filter(status="pending", created_at=day.run_at)
        queued.update(status="sent", sent_at=day.run_at)
        returns += receive_all(day.after_run)
        counts = Counts(*(checks[check.name].succeeded for check in CHECKS))._replace(returns=returns)
        yield DayResult(day.run_at.date(), counts, due_users.count_by_state())


def comparison_by_the_audit_log(log: ReplayLog) -> Comparison:
    seen_at: dict[UUID, list[datetime]] = {}
    for message in log.messages:
        seen_at.setdefault(message.user_id, []).append(message.event.occurred_at)
    transitions = list(EngagementStateTransition.objects.order_by("created_at"))
    goodbyes = [
        Goodbye(
            move.user_id,
            move.created_at,
            max(at for at in seen_at[move.user_id] if at < move.created_at),
        )
        for move in transitions
        if move.to_state == "goodbye_sent"
    ]
    answers = {
        (move.user_id, move.created_at)
        for move in transitions
        if move.trigger in RESPONSE_TYPES and move.trigger != "goodbye_timeout"
    }
    preferences = engagement_settings().preferences
    answers |= {
        (message.user_id, message.event.occurred_at)
        for message in log.messages
        if preference_in(message.event.text or "", preferences=preferences)
    }
    return compare(goodbyes=goodbyes, answers=answers, seen_at=seen_at)


@pytest.mark.django_db
def test_simulation_finds_each_day_what_the_services_do(tmp_path: Path, settings: Settings) -> None:
    settings.ENGAGEMENT_INACTIVITY_DAYS = INACTIVITY_DAYS
    settings.ENGAGEMENT_REMIND_AFTER_DAYS = 5
    rows = [*replies(), *wishes(), *same_second(), *around_runs(), *anything()]
    path = write_log(tmp_path, rows)
    log = read_replay_log(path)
    period = period_of(log, first_date=MIDNIGHT.date(), last_date=None)
    (policy,) = replay_activity_log(path=path, first_date=period.first_date).policies
    for found, expected in zip(policy.days, play_through_services(log, period), strict=True):
        assert found.as_json() == expected.as_json()
    assert policy.comparison == comparison_by_the_audit_log(log)
    assert all(policy.totals)
    assert all(policy.comparison)
