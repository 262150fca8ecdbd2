"""The days of a replay: which message belongs to which day, and which periods are refused."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.period import (
    LONGEST_DEFAULT,
    NothingToReplay,
    Period,
    ReplayLog,
    period_of,
    read_replay_log,
)
from engagement.schedule import DEFAULT_RUN_TIME
from tests.integration.replay.logs import MIDNIGHT, TICK, Row, write_log
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def log(tmp_path: Path) -> ReplayLog:
    """Ana writes at the edges of two days, Ben on the second; the file is not in order."""
    moments = (0 * DAY, 6 * HOUR - TICK, 6 * HOUR, DAY - TICK, DAY)
    rows = [Row("ana", MIDNIGHT + moment, str(place)) for place, moment in enumerate(moments)]
    return read_replay_log(write_log(tmp_path, [*rows[::-1], Row("ben", MIDNIGHT + DAY, "ben")]))


def texts(messages: Any) -> list[str]:
    return [message.event.text for message in messages]


def test_messages_at_the_time_of_the_run_come_after_it(log: ReplayLog) -> None:
    first, second = log.days(Period(FIRST, SECOND), run_time=DEFAULT_RUN_TIME)
    assert first.run_at == MIDNIGHT + 6 * HOUR
    assert (texts(first.before_run), texts(first.after_run)) == (["0", "1"], ["2", "3"])
    assert (texts(second.before_run), texts(second.after_run)) == (["4", "ben"], [])


def test_message_has_the_previous_event_of_its_user(log: ReplayLog) -> None:
    previous = [message.previous.text if message.previous else None for message in log.messages]
    assert previous == [None, "0", "1", "2", "3", None]


def test_period_is_that_of_the_log_by_default(log: ReplayLog) -> None:
    assert period_of(log, first_date=None, last_date=None) == Period(FIRST, SECOND)
    second_day = period_of(log, first_date=SECOND, last_date=None)
    assert (second_day, texts(log.until(second_day.begins_at))) == (
        Period(SECOND, SECOND),
        ["0", "1", "2", "3"],
    )


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(2026, 3, 4), None), (None, date(2026, 3, 1)), (date(2026, 3, 4), date(2026, 3, 5))],
)
def test_days_without_an_event_are_refused(log: ReplayLog, first: date | None, last: date | None) -> None:
    with pytest.raises(NothingToReplay, match="goes from 2026-03-02 to 2026-03-03: there is no event on"):
        period_of(log, first_date=first, last_date=last)


@pytest.mark.parametrize("extra_days", [0, 1])
def test_period_that_is_too_long_needs_both_ends(tmp_path: Path, extra_days: int) -> None:
    last_at = MIDNIGHT + (LONGEST_DEFAULT - 1 + extra_days) * DAY
    log = read_replay_log(write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ana", last_at)]))
    for first, last in ((None, None), (FIRST, None), (None, last_at.date())):
        if extra_days:
            with pytest.raises(NothingToReplay, match="3,654 days are too many to replay by default"):
                period_of(log, first_date=first, last_date=last)
        else:
            assert period_of(log, first_date=first, last_date=last).days == LONGEST_DEFAULT
    assert period_of(log, first_date=FIRST, last_date=last_at.date()).days == LONGEST_DEFAULT + extra_days


def test_log_without_events_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path, [])
    with pytest.raises(MalformedActivityLog) as error:
        read_replay_log(path)
    assert str(error.value) == f"{path}: there are no events below the header."
