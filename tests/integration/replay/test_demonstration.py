"""A demonstration: a log played in this database, as if it ended now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.replay import demo
from engagement.replay.demo import Demonstration, play_demonstration
from engagement.replay.loading import user_id_of
from tests.integration.replay.logs import MIDNIGHT, TICK, Row, write_log
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

pytestmark = pytest.mark.django_db

LAST_RUN: Final = MIDNIGHT + 6 * HOUR
DAYS: Final = 24
"""Shorter than a real demonstration: each day is a run."""
AGO: Final = 100 * DAY
"""How long before the demonstration the log was written."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DAYS", DAYS)


def play(folder: Path, *rows: Row, now: datetime, as_of: datetime | None = None) -> Demonstration:
    """Play rows as if a log of so long ago held them."""
    path = write_log(folder, [row._replace(occurred_at=row.occurred_at - AGO) for row in rows])
    return play_demonstration(path=path, as_of=as_of, now=now)


def last_seen() -> dict[str, datetime]:
    """Who has a state, and when they were last active."""
    names = {user_id_of(name): name for name in ("ana", "ben", "cid", "dan")}
    states = UserEngagementState.objects.values_list("user_id", "last_activity_at")
    return {names[user_id]: seen_at for user_id, seen_at in states}


@pytest.mark.parametrize(("step", "days"), [(-TICK, 1), (0 * TICK, 0), (TICK, 0)])
def test_last_run_is_the_latest_that_was_due(tmp_path: Path, step: timedelta, days: int) -> None:
    told = play(tmp_path, Row("ana", MIDNIGHT + 7 * HOUR - DAY), now=LAST_RUN + step)
    assert told.last_run_at == LAST_RUN - days * DAY
    runs = EngagementJobRun.objects.order_by("now").values_list("now", flat=True)
    assert list(runs) == [told.last_run_at - number * DAY for number in reversed(range(DAYS))]


def test_log_ends_where_it_is_told_to(tmp_path: Path) -> None:
    ends_at = MIDNIGHT + 8 * HOUR
    rows = [Row("ana", ends_at - DAY), Row("ben", ends_at), Row("cid", ends_at + TICK)]
    told = play(tmp_path, *rows, as_of=ends_at - AGO, now=ends_at + HOUR)
    assert told == Demonstration(users=2, events=2, last_run_at=LAST_RUN)
    assert last_seen() == {"ana": ends_at - DAY, "ben": ends_at}
    assert UserProfile.objects.count() == 2


def test_what_the_clock_has_not_reached_has_not_happened(tmp_path: Path) -> None:
    now = MIDNIGHT + 9 * HOUR
    rows = [Row("ana", now), Row("ben", now + TICK), Row("ana", now + 3 * HOUR)]
    assert play(tmp_path, *rows, now=now) == Demonstration(users=1, events=1, last_run_at=LAST_RUN)
    assert last_seen() == {"ana": now}


def test_night_after_the_last_run_is_played_too(tmp_path: Path) -> None:
    night = MIDNIGHT + DAY
    rows = [Row("ana", LAST_RUN - TICK), Row("ana", night), Row("ben", night + 5 * HOUR)]
    told = play(tmp_path, *rows, now=night + 5 * HOUR)
    assert told == Demonstration(users=2, events=3, last_run_at=LAST_RUN)
    assert last_seen() == {"ana": night, "ben": night + 5 * HOUR}


def test_those_from_before_the_weeks_are_as_they_were_last(tmp_path: Path) -> None:
    before = LAST_RUN - 80 * DAY
    rows = [
        Row("ana", before, whatsapp_jid=""),
        Row("ana", before + HOUR),
        Row("ana", before + 2 * HOUR),
        Row("ben", before),
        Row("ben", before + HOUR, reengagement_opt_out="true"),
        Row("ben", before + 2 * HOUR, reengagement_opt_out="true"),
        Row("cid", before, reengagement_opt_out="true"),
        Row("cid", before + 3 * HOUR),
        Row("dan", LAST_RUN),
    ]
    play(tmp_path, *rows, now=LAST_RUN)
    first_run_at = LAST_RUN - (DAYS - 1) * DAY
    goodbyes = EngagementStateTransition.objects.filter(to_state="goodbye_sent", created_at=first_run_at)
    told = goodbyes.values_list("user_id", "metadata__days_inactive")
    assert dict(told) == {user_id_of("ana"): 80 - DAYS, user_id_of("cid"): 80 - DAYS}
    seen = last_seen()
    assert (seen["ben"], seen["dan"]) == (before + 2 * HOUR, LAST_RUN)


def test_messages_of_each_run_are_sent_when_the_hours_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which messages a staff account cancels depends on the length.
    monkeypatch.setattr(demo, "DAYS", 42)
    rows = [
        Row("ana", LAST_RUN - 20 * DAY - TICK),
        Row("ben", LAST_RUN - 19 * DAY - TICK),
        Row("ben", LAST_RUN - 4 * DAY + HOUR, "oi"),
        Row("cid", LAST_RUN),
    ]
    play(tmp_path, *rows, now=LAST_RUN)
    goodbyes = EngagementMessage.objects.filter(message_type="goodbye").order_by("sent_at")
    assert list(goodbyes.values_list("user_id", "status", "sent_at")) == [
        (user_id_of("ana"), "sent", LAST_RUN - 6 * DAY + 6 * HOUR),
        (user_id_of("ben"), "sent", LAST_RUN - 5 * DAY + 6 * HOUR),
    ]
