"""When messages may be sent: hours of the day in a user's time zone, and how many fit into them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from engagement.states import DAY, MINUTE

if TYPE_CHECKING:
    from datetime import tzinfo

_HOURS: Final = re.compile(
    r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)",
    re.ASCII,
)


class SendingHours(NamedTuple):
    """From `begins` until just before `ends`, in local time. They may cross midnight."""

    begins: time
    ends: time

    @classmethod
    def parse(cls, text: str) -> SendingHours:
        """Hours such as `09:00-20:00`. Raises ValueError for another form, and for equal ends."""
        parts = _HOURS.fullmatch(text)
        if not parts:
            raise ValueError("must be hours such as 09:00-20:00")
        hours = cls(time(int(parts[1]), int(parts[2])), time(int(parts[3]), int(parts[4])))
        if hours.begins == hours.ends:
            raise ValueError("must not begin and end at the same time; leave it empty for all hours")
        return hours

    @property
    def length(self) -> timedelta:
        """How long they last on a day without a clock change."""
        day = datetime(2000, 1, 1, tzinfo=UTC)
        return (datetime.combine(day, self.ends) - datetime.combine(day, self.begins)) % DAY

    def include(self, instant: datetime, *, zone: tzinfo) -> bool:
        """Whether `instant` (aware) is within the hours in `zone`."""
        local = instant.astimezone(zone).time()
        if self.begins < self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends

    def open_within(self, period: timedelta, *, after: datetime, zone: tzinfo) -> timedelta:
        """How long they are open in the time `period` after `after` (aware), by whole minutes."""
        days, rest = divmod(max(period, timedelta()), DAY)
        begin = after.astimezone(UTC)
        minutes = range(rest // MINUTE)
        open_minutes = sum(self.include(begin + number * MINUTE, zone=zone) for number in minutes)
        return days * self.length + open_minutes * MINUTE

    def closes_by(self, instant: datetime, *, within: timedelta, zone: tzinfo) -> datetime | None:
        """When they end, if they do so in the time `within` after `instant` (aware).

        It looks at each minute, as `next_open_at` does.
        """
        minute = instant.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
        while minute <= instant + within:
            if not self.include(minute, zone=zone):
                return minute
            minute += MINUTE
        return None

    def next_open_at(self, instant: datetime, *, zone: tzinfo) -> datetime:
        """`instant` (aware) if it is within the hours in `zone`, else when they next begin.

        It looks at each minute, because a clock change may skip the begin, or bring it twice.
        """
        if self.include(instant, zone=zone):
            return instant
        minute = instant.astimezone(UTC).replace(second=0, microsecond=0)
        while not self.include(minute, zone=zone) or minute < instant:
            minute += MINUTE
        return minute


def zone_named(name: str | None) -> ZoneInfo | None:
    """The time zone with this name; None if there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):  # not found, a path, a folder
        return None


def messages_that_fit(*, open_time: timedelta, seconds_per_message: float, places: int | None) -> int | None:
    """About how many messages can be sent while the hours are open for `open_time`.

    `places` is what a cap leaves; None without one. None if nothing limits them.
    """
    if open_time <= timedelta():
        return 0
    limits = [places] if places is not None else []
    if seconds_per_message:
        limits.append(round(open_time.total_seconds() / seconds_per_message))
    return min(limits, default=None)
