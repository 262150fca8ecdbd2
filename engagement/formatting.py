"""What all ways in say in the same words: counts, times, and what comes next for a user. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

from engagement.selectors.due_users import SkipReason
from engagement.services.explanation import NextStepKind
from engagement.states import Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.selectors.user_history import UserStatus
    from engagement.services.explanation import NextStep

WHAT_CHECKS_DO: Final = {
    Trigger.INACTIVITY_14D: "tells them goodbye",
    Trigger.GOODBYE_TIMEOUT: "makes them dormant, silently",
    Trigger.REMINDER_DUE: "makes them dormant, silently",
}

OBSTACLES: Final = {
    SkipReason.OPTED_OUT: "they opted out",
    SkipReason.NO_DESTINATION: "they have no WhatsApp address",
}


def count_text(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def date_text(instant: datetime | None) -> str:
    """`1 July 1998, 06:00 UTC`."""
    if instant is None:
        return "an unknown date"
    instant = instant.astimezone(UTC)
    return f"{instant.day} {instant:%B} {instant.year}, {instant:%H:%M} UTC"


def next_step_sentence(next_step: NextStep, *, user_status: UserStatus | None) -> str:
    """What the job would do with a user, or why it would not, in one sentence."""
    match next_step.verdict:
        case NextStepKind.DUE:
            run = date_text(next_step.next_run_at)
            return f"Due now: the next run, on {run} or before, {_what(next_step)}."
        case NextStepKind.NOT_YET:
            return _not_yet(next_step)
        case NextStepKind.SKIPPED:
            return f"Silent for long enough, but {_obstacles(next_step)}: every run passes them over."
        case NextStepKind.UNREADABLE | NextStepKind.NEVER:
            return _out_of_calendar(next_step, user_status)
        case NextStepKind.NO_CHECK:
            return "Nothing comes next: no check looks at this state, and only a message from them ends it."
        case NextStepKind.NO_STATE:
            return "Nothing comes next: they have no state row, and no check looks at them."


def _out_of_calendar(next_step: NextStep, user_status: UserStatus | None) -> str:
    columns = " and ".join(user_status.unreadable) if user_status else ""
    if next_step.verdict is NextStepKind.UNREADABLE:
        return f"Due now, but every run will fail to move them: correct {columns}, which no calendar has."
    column = next_step.check.due_column if next_step.check else ""
    return f"Never due: correct {column}, which lies at the end of the calendar or beyond it."


def _not_yet(next_step: NextStep) -> str:
    sentence = (
        f"Not due yet: at the earliest the run of {date_text(next_step.next_run_at)}, {_what(next_step)},"
        " if they do not write before"
    )
    return (
        f"{sentence}; but not as long as {_obstacles(next_step)}." if next_step.obstacles else f"{sentence}."
    )


def _what(next_step: NextStep) -> str:
    return f"{WHAT_CHECKS_DO[next_step.check.trigger]} ({next_step.check.name})" if next_step.check else ""


def _obstacles(next_step: NextStep) -> str:
    return " and ".join(OBSTACLES[reason] for reason in next_step.obstacles)
