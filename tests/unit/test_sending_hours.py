"""Sending hours: half-open, across midnight, through clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engagement.sending_hours import SendingHours, messages_that_fit, zone_named
from tests.times import HOUR

DAYTIME = SendingHours.parse("09:00-20:00")
NIGHT = SendingHours.parse("22:00-06:00")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
NEW_YORK = ZoneInfo("America/New_York")


def at(text: str, zone: ZoneInfo = SAO_PAULO, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("hours", "time", "is_open"),
    [
        (DAYTIME, "08:59:59.999999", False),
        (DAYTIME, "09:00:00", True),
        (DAYTIME, "19:59:59.999999", True),
        (DAYTIME, "20:00:00", False),
        (NIGHT, "21:59:59.999999", False),
        (NIGHT, "22:00:00", True),
        (NIGHT, "00:00:00", True),
        (NIGHT, "05:59:59.999999", True),
        (NIGHT, "06:00:00", False),
    ],
)
def test_hours_include_their_begin_and_not_their_end(
    hours: SendingHours, time: str, *, is_open: bool
) -> None:
    assert hours.include(at(f"2026-03-02T{time}"), zone=SAO_PAULO) is is_open


@pytest.mark.parametrize(
    ("hours", "now", "opens_at"),
    [
        (DAYTIME, "2026-03-02T12:00", "2026-03-02T12:00"),
        (DAYTIME, "2026-03-02T03:00", "2026-03-02T09:00"),
        (DAYTIME, "2026-03-02T20:00", "2026-03-03T09:00"),
        (NIGHT, "2026-03-02T06:00", "2026-03-02T22:00"),
        (NIGHT, "2026-03-02T01:00", "2026-03-02T01:00"),
    ],
)
def test_hours_next_begin(hours: SendingHours, now: str, opens_at: str) -> None:
    assert hours.next_open_at(at(now), zone=SAO_PAULO) == at(opens_at)


def test_six_in_the_morning_utc_is_night_in_sao_paulo() -> None:
    run_at = datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert DAYTIME.next_open_at(run_at, zone=SAO_PAULO) == datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "hours", [DAYTIME, NIGHT, SendingHours.parse("02:30-03:30"), SendingHours.parse("01:30-01:45")]
)
@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
def test_clock_change_neither_loses_nor_invents_an_opening(hours: SendingHours, day: str) -> None:
    """At each minute around the change, the next opening is the first minute at which they are open."""
    start = at(f"{day}T00:00", NEW_YORK).astimezone(UTC) - 6 * HOUR
    minutes = [start + timedelta(minutes=number) for number in range(60 * 60)]
    for now in minutes[: 36 * 60 : 41]:
        expected = next(
            minute for minute in minutes if minute >= now and hours.include(minute, zone=NEW_YORK)
        )
        assert hours.next_open_at(now, zone=NEW_YORK) == expected


@pytest.mark.parametrize(
    "text", ["", "9-20", "09:00", "09:00-24:00", "09:00-20:60", "09:00-20:00 ", "\uff19\uff19:00-20:00"]
)
def test_malformed_hours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be hours such as"):
        SendingHours.parse(text)


def test_hours_without_length_are_refused() -> None:
    with pytest.raises(ValueError, match="at the same time"):
        SendingHours.parse("09:00-09:00")


@pytest.mark.parametrize("name", [None, "", "Mars/Olympus", "../etc/passwd", "America", "\0"])
def test_unknown_time_zone_is_none(name: str | None) -> None:
    assert zone_named(name) is None


@pytest.mark.parametrize(
    ("open_hours", "seconds", "places", "fit"),
    [
        (48, 0, None, None),
        (48, 45, None, 3840),
        (24, 45, None, 1920),
        (48, 0, 500, 500),
        (22, 45, 500, 500),
        (0, 0, None, 0),
        (-1, 0, 500, 0),
    ],
)
def test_rate_hours_and_cap_limit_what_fits(
    open_hours: int, seconds: float, places: int | None, fit: int | None
) -> None:
    found = messages_that_fit(
        open_time=timedelta(hours=open_hours), seconds_per_message=seconds, places=places
    )
    assert found == fit


@pytest.mark.parametrize(
    ("hours", "after", "period", "open_hours"),
    [
        ("09:00-20:00", "2026-03-02T06:00:00-03:00", 48, 22),
        ("09:00-20:00", "2026-03-02T06:00:00-03:00", 2, 0),
        ("09:00-20:00", "2026-03-02T19:00:00-03:00", 2, 1),
        ("20:00-02:00", "2026-03-02T23:00:00-03:00", 24, 6),
        ("09:00-20:00", "2026-03-02T10:00:00-03:00", -5, 0),
    ],
)
def test_hours_are_open_for_a_part_of_a_period(hours: str, after: str, period: int, open_hours: int) -> None:
    found = SendingHours.parse(hours).open_within(
        timedelta(hours=period), after=datetime.fromisoformat(after), zone=ZoneInfo("America/Sao_Paulo")
    )
    assert found == timedelta(hours=open_hours)
