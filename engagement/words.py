"""What all ways in say in the same words: counts, times, and what comes next for a user. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

from engagement.selectors import SkipReason
from engagement.services.explanation import Verdict
from engagement.states import Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.histories import Standing
    from engagement.services.explanation import Outlook

WHAT_CHECKS_DO: Final = {
    Trigger.INACTIVITY_14D: "tells them goodbye",
    Trigger.GOODBYE_TIMEOUT: "makes them dormant, silently",
    Trigger.REMINDER_DUE: "makes them dormant, silently",
}

OBSTACLES: Final = {
    SkipReason.OPTED_OUT: "they opted out",
    SkipReason.NO_DESTINATION: "they have no WhatsApp address",
}


def counted(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def date_in_words(instant: datetime | None) -> str:
    """`1 July 1998, 06:00 UTC`."""
    if instant is None:
        return "an unknown date"
    instant = instant.astimezone(UTC)
    return f"{instant.day} {instant:%B} {instant.year}, {instant:%H:%M} UTC"


def outlook_in_words(outlook: Outlook, *, standing: Standing | None) -> str:
    """What the job would do with a user, or why it would not, in one sentence."""
    match outlook.verdict:
        case Verdict.DUE:
            run = date_in_words(outlook.next_run_at)
            return f"Due now: the next run, on {run} or before, {_what(outlook)}."
        case Verdict.NOT_YET:
            return _not_yet(outlook)
        case Verdict.SKIPPED:
            return f"Silent for long enough, but {_obstacles(outlook)}: every run passes them over."
        case Verdict.UNREADABLE | Verdict.NEVER:
            return _out_of_calendar(outlook, standing)
        case Verdict.NO_CHECK:
            return "Nothing comes next: no check looks at this state, and only a message from them ends it."
        case Verdict.NO_STATE:
            return "Nothing comes next: they have no state row, and no check looks at them."


def _out_of_calendar(outlook: Outlook, standing: Standing | None) -> str:
    columns = " and ".join(standing.unreadable) if standing else ""
    if outlook.verdict is Verdict.UNREADABLE:
        return f"Due now, but every run will fail to move them: correct {columns}, which no calendar has."
    column = outlook.check.due_column if outlook.check else ""
    return f"Never due: correct {column}, which lies at the end of the calendar or beyond it."


def _not_yet(outlook: Outlook) -> str:
    sentence = (
        f"Not due yet: at the earliest the run of {date_in_words(outlook.next_run_at)}, {_what(outlook)},"
        " if they do not write before"
    )
    return f"{sentence}; but not as long as {_obstacles(outlook)}." if outlook.obstacles else f"{sentence}."


def _what(outlook: Outlook) -> str:
    return f"{WHAT_CHECKS_DO[outlook.check.trigger]} ({outlook.check.name})" if outlook.check else ""


def _obstacles(outlook: Outlook) -> str:
    return " and ".join(OBSTACLES[reason] for reason in outlook.obstacles)
