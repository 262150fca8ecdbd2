"""How counts, times, durations and a user's next step read, in the terminal and in the admin. Pure."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _

from engagement.schedule import NextStepKind
from engagement.selectors.goodbyes import GoodbyeFate
from engagement.states import SkipReason

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.schedule import NextStep

UNITS: Final = (("year", 31_536_000), ("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
"""The units of a duration, with their seconds. A year is 365 days."""

OBSTACLES: Final = {
    SkipReason.OPTED_OUT: "has opted out",
    SkipReason.NO_DESTINATION: "has no WhatsApp address",
}

GOODBYE_NOTES: Final = {
    GoodbyeFate.NEVER_SENT.value: "the goodbye was never sent",
    GoodbyeFate.PERHAPS_SENT.value: "the goodbye was perhaps sent",
}
"""What a timeout says of a goodbye that did not surely reach the user."""


def count_text(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent_text(part: float, whole: float) -> str:
    """`94%`: the share of `part` in `whole`, without decimals; `0%` of nothing."""
    return _("%(percent)d%%") % {"percent": round(100 * part / whole) if whole else 0}


def date_text(instant: datetime | None) -> str:
    """`1 July 1998, 06:00 UTC`."""
    if instant is None:
        return "an unknown date"
    instant = instant.astimezone(UTC)
    return f"{instant.day} {instant:%B} {instant.year}, {instant:%H:%M} UTC"


def duration_text(length: timedelta, *, units: int = 3) -> str:
    """`1 day, 2 hours, 30 minutes`: the largest units, at most `units` of them; `0.5 s` below a minute."""
    if length < timedelta(minutes=1):
        return f"{max(length.total_seconds(), 0):.3g} s"
    rest, parts = int(length.total_seconds()), []
    for noun, seconds in UNITS:
        number, rest = divmod(rest, seconds)
        if number:
            parts.append(count_text(number, noun))
    return ", ".join(parts[:units])


def next_step_sentence(next_step: NextStep) -> str:
    """What the daily job will do with a user, or why it will do nothing."""
    sends_goodbye = next_step.check is not None and next_step.check.sends_goodbye
    run_at = date_text(next_step.next_run_at)
    obstacles = " and ".join(OBSTACLES[reason] for reason in next_step.obstacles)
    match next_step.verdict:
        case NextStepKind.DUE:
            action = "sends a goodbye" if sends_goodbye else "makes the user dormant"
            return f"Due now: the next run, on {run_at} at the latest, {action}."
        case NextStepKind.NOT_YET if sends_goodbye:
            sentence = f"Next goodbye: {run_at} at the earliest."
            return f"{sentence} None will be sent: the user {obstacles}." if obstacles else sentence
        case NextStepKind.NOT_YET:
            return f"Will become dormant on {run_at} unless the user writes."
        case NextStepKind.SKIPPED:
            return f"No goodbye will be sent: the user {obstacles}."
        case NextStepKind.NO_CHECK:
            return "No next step: only a message from the user ends this state."
        case NextStepKind.NO_STATE:
            return "No next step: the user has no state row."
