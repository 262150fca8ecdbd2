"""How counts, times, durations and a user's next step read, in the terminal and in the admin. Pure.

The texts are in the active language: English in commands, that of the account in the admin. A sentence with a
time takes a function that formats it: `date_text` by default, which says UTC; the admin has one of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from django.utils.dateformat import format as format_date
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy, ngettext_lazy, pgettext
from django.utils.translation import gettext as _

from engagement.schedule import NextStepKind
from engagement.selectors.goodbyes import GoodbyeFate
from engagement.states import SkipReason

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from django.utils.functional import _StrPromise

    from engagement.schedule import NextStep

    DateFormat = Callable[[datetime | None], str]

UNITS: Final = (("year", 31_536_000), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
"""The units of a duration, with their seconds. A year is 365 days."""

COUNTED: Final[dict[str, _StrPromise]] = {
    "year": ngettext_lazy("%(shown)s year", "%(shown)s years", "number"),
    "day": ngettext_lazy("%(shown)s day", "%(shown)s days", "number"),
    "hour": ngettext_lazy("%(shown)s hour", "%(shown)s hours", "number"),
    "minute": ngettext_lazy("%(shown)s minute", "%(shown)s minutes", "number"),
    "second": ngettext_lazy("%(shown)s second", "%(shown)s seconds", "number"),
    "message": ngettext_lazy("%(shown)s message", "%(shown)s messages", "number"),
    "pause": ngettext_lazy("%(shown)s pause", "%(shown)s pauses", "number"),
    "manual action": ngettext_lazy("%(shown)s manual action", "%(shown)s manual actions", "number"),
    "failed attempt": ngettext_lazy("%(shown)s failed attempt", "%(shown)s failed attempts", "number"),
    "run": ngettext_lazy("%(shown)s run", "%(shown)s runs", "number"),
    "transition": ngettext_lazy("%(shown)s transition", "%(shown)s transitions", "number"),
    "user": ngettext_lazy("%(shown)s user", "%(shown)s users", "number"),
    "API token": ngettext_lazy("%(shown)s API token", "%(shown)s API tokens", "number"),
}
"""What the admin counts. Commands count other things as well, in English."""

_PLACE: Final = re.compile(r"%\((\w+)\)s")

OBSTACLES: Final = {
    SkipReason.OPTED_OUT: gettext_lazy("has opted out"),
    SkipReason.NO_DESTINATION: gettext_lazy("has no WhatsApp address"),
}

GOODBYE_NOTES: Final = {
    GoodbyeFate.NEVER_SENT.value: gettext_lazy("the goodbye was never sent"),
    GoodbyeFate.PERHAPS_SENT.value: gettext_lazy("the goodbye was perhaps sent"),
}
"""What a timeout says of a goodbye that did not surely reach the user."""


def fill(template: str, /, **values: object) -> str:
    """The template with its places, such as `%(date)s`, filled.

    If a value is HTML, so is the result, and everything else in it is escaped.
    """
    if any(isinstance(value, SafeString) for value in values.values()):
        return format_html(_PLACE.sub(r"{\1}", template), **values)
    return template % values


def number_text(number: int) -> str:
    """`2,000`, or `2.000` in Portuguese."""
    return number_format(number, force_grouping=True)


def count_text(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    shown = number_text(number)
    if noun in COUNTED:
        return COUNTED[noun] % {"number": number, "shown": shown}
    return f"{shown} {noun}" if number == 1 else f"{shown} {noun}s"


def day_text(instant: datetime) -> str:
    """`1 July 1998`: the day in the time zone of `instant`."""
    return _date(instant, pgettext("date, in Django's format", "j F Y"))


def short_day_text(day: date) -> str:
    """`1 Jul`."""
    return _date(day, pgettext("day and month, in Django's format", "j M"))


def moment_text(instant: datetime) -> str:
    """`1 July 1998, 06:00`: the time in the time zone of `instant`, which the text does not name."""
    return _date(instant, pgettext("date and time, in Django's format", "j F Y, H:i"))


def short_moment_text(instant: datetime, *, now: datetime) -> str:
    """`Wed 1 Jul, 06:00`, or `Wed 1 Jul 1998, 06:00` of another year than `now`, in the same zone."""
    if instant.year != now.year:
        return _date(instant, pgettext("weekday, date and time, in Django's format", "D j M Y, H:i"))
    return _date(instant, pgettext("weekday, day and time, in Django's format", "D j M, H:i"))


def percent_text(part: float, whole: float) -> str:
    """`94%`: the share of `part` in `whole`, without decimals; `0%` of nothing."""
    return _("%(percent)d%%") % {"percent": round(100 * part / whole) if whole else 0}


def date_text(instant: datetime | None) -> str:
    """`1 July 1998, 06:00 UTC`."""
    if instant is None:
        return _("an unknown date")
    return f"{moment_text(instant.astimezone(UTC))} UTC"


def duration_text(length: timedelta, *, units: int = 3) -> str:
    """`1 day, 2 hours, 30 minutes`: the largest units, at most `units` of them; `0.5 s` below a minute."""
    if length < timedelta(minutes=1):
        return f"{number_format(f'{max(length.total_seconds(), 0):.3g}')} s"
    rest, parts = int(length.total_seconds()), []
    for noun, seconds in UNITS:
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(count_text(number, noun))
    return ", ".join(parts[:units])


def next_step_sentence(next_step: NextStep, *, date: DateFormat = date_text) -> str:  # noqa: PLR0911  a table
    """What the daily job will do with a user, or why it will do nothing."""
    sends_goodbye = next_step.check is not None and next_step.check.sends_goodbye
    run_at = date(next_step.next_run_at)
    obstacles = _(" and ").join(str(OBSTACLES[reason]) for reason in next_step.obstacles)
    match next_step.verdict:
        case NextStepKind.DUE if sends_goodbye:
            return fill(_("Due now: the next run, on %(date)s at the latest, sends a goodbye."), date=run_at)
        case NextStepKind.DUE:
            return fill(
                _("Due now: the next run, on %(date)s at the latest, makes the user dormant."), date=run_at
            )
        case NextStepKind.NOT_YET if sends_goodbye and obstacles:
            sentence = _("Next goodbye: %(date)s at the earliest. None will be sent: the user %(obstacles)s.")
            return fill(sentence, date=run_at, obstacles=obstacles)
        case NextStepKind.NOT_YET if sends_goodbye:
            return fill(_("Next goodbye: %(date)s at the earliest."), date=run_at)
        case NextStepKind.NOT_YET:
            return fill(_("Will become dormant on %(date)s unless the user writes."), date=run_at)
        case NextStepKind.SKIPPED:
            return fill(_("No goodbye will be sent: the user %(obstacles)s."), obstacles=obstacles)
        case NextStepKind.NO_CHECK:
            return _("No next step: only a message from the user ends this state.")
        case NextStepKind.NO_STATE:
            return _("No next step: the user has no state row.")


def _date(instant: date, template: str) -> str:
    text = format_date(instant, template)
    # Django's names of months and weekdays in Portuguese begin with a capital letter, as on a calendar.
    return text.lower() if (get_language() or "").startswith("pt") else text
