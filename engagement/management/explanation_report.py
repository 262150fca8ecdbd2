"""What is known of one user, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.management.printing import counted
from engagement.models import MessageStatus
from engagement.selectors import SkipReason
from engagement.services.explanation import Verdict
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.histories import Message, Move, Standing
    from engagement.services.explanation import Explanation, Outlook

WHAT_CHECKS_DO: Final = {
    Trigger.INACTIVITY_14D: "tells them goodbye",
    Trigger.GOODBYE_TIMEOUT: "makes them dormant, silently",
    Trigger.REMINDER_DUE: "makes them dormant, silently",
}

OBSTACLES: Final = {
    SkipReason.OPTED_OUT: "they opted out",
    SkipReason.NO_DESTINATION: "they have no WhatsApp address",
}


def explanation_report(explanation: Explanation) -> str:
    """The user's state, what comes next, their history and their messages."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"User {explanation.user_id}, as of {_instant(explanation.now)}."
    if standing := explanation.standing:
        yield _state(standing, since=explanation.since)
        yield _activity(standing, now=explanation.now)
        yield from _reachability(standing)
    elif not explanation.has_profile:
        yield "The user has been deleted; what happened to them before is kept."
    yield _outlook(explanation)
    yield "History:" if explanation.moves else "History: the audit log has no move of this user."
    for move in explanation.moves:
        yield f"- {_move(move)}"
    yield "Messages:" if explanation.messages else "Messages: none."
    for message in explanation.messages:
        yield f"- {_message(message)}"


def _state(standing: Standing, *, since: datetime | None) -> str:
    when = f"since {_instant(since)}" if since else "since when, the audit log does not say"
    return f"State: {standing.state}, {when}."


def _activity(standing: Standing, *, now: datetime) -> str:
    if standing.last_activity_at is None:
        return "Last active at a time that no calendar has."
    days = (now - standing.last_activity_at) // timedelta(days=1)
    ago = f"{counted(days, 'day')} ago" if days >= 0 else "in the future"
    return f"Last active: {_instant(standing.last_activity_at)}, {ago}."


def _reachability(standing: Standing) -> Iterator[str]:
    if not standing.obstacles:
        yield "Reachable, and not opted out."
    if SkipReason.OPTED_OUT in standing.obstacles:
        yield _opt_out(standing)
    if SkipReason.NO_DESTINATION in standing.obstacles:
        yield "Not reachable: no WhatsApp address."


def _opt_out(standing: Standing) -> str:
    if standing.opt_out_changed_at:
        return f"Opted out on {_instant(standing.opt_out_changed_at)}."
    changed_at = _instant(standing.profile_updated_at)
    return f"Opted out, nobody noted when; the profile was last changed on {changed_at}."


def _outlook(explanation: Explanation) -> str:
    outlook = explanation.outlook
    match outlook.verdict:
        case Verdict.DUE:
            return f"Due now: the next run, on {_instant(outlook.next_run_at)} or before, {_what(outlook)}."
        case Verdict.NOT_YET:
            return _not_yet(outlook)
        case Verdict.SKIPPED:
            return f"Silent for long enough, but {_obstacles(outlook)}: every run passes them over."
        case Verdict.UNREADABLE | Verdict.NEVER:
            return _out_of_calendar(explanation)
        case Verdict.NO_CHECK:
            return "Nothing comes next: no check looks at this state, and only a message from them ends it."
        case Verdict.NO_STATE:
            return "Nothing comes next: they have no state row, and no check looks at them."


def _out_of_calendar(explanation: Explanation) -> str:
    outlook, standing = explanation.outlook, explanation.standing
    columns = " and ".join(standing.unreadable) if standing else ""
    if outlook.verdict is Verdict.UNREADABLE:
        return f"Due now, but every run will fail to move them: correct {columns}, which no calendar has."
    column = outlook.check.due_column if outlook.check else ""
    return f"Never due: correct {column}, which lies at the end of the calendar or beyond it."


def _not_yet(outlook: Outlook) -> str:
    sentence = (
        f"Not due yet: at the earliest the run of {_instant(outlook.next_run_at)}, {_what(outlook)},"
        " if they do not write before"
    )
    return f"{sentence}; but not as long as {_obstacles(outlook)}." if outlook.obstacles else f"{sentence}."


def _what(outlook: Outlook) -> str:
    return f"{WHAT_CHECKS_DO[outlook.check.trigger]} ({outlook.check.name})" if outlook.check else ""


def _obstacles(outlook: Outlook) -> str:
    return " and ".join(OBSTACLES[reason] for reason in outlook.obstacles)


def _move(move: Move) -> str:
    told = move.metadata
    parts = [f"{move.from_state} -> {move.to_state}, {Trigger(move.trigger).label}"]
    if isinstance(days := told.get("days_inactive"), int):
        parts.append(f"silent for {counted(days, 'day')}")
    parts.extend(f"run {told[key]}" for key in ("job_id", "undone_job_id") if key in told)
    return f"{_instant(move.created_at)}: {', '.join(parts)}."


def _message(message: Message) -> str:
    what = f"{message.message_type}, queued on {_instant(message.created_at)}"
    match message.status:
        case MessageStatus.PENDING:
            return f"{what}: pending, to be sent from {_instant(message.scheduled_for)} on."
        case MessageStatus.SENT:
            return f"{what}: sent on {_instant(message.sent_at)}."
        case _:
            error = f" ({message.error_message})" if message.error_message else ""
            return f"{what}: {message.status}{error}."


def _instant(instant: datetime | None) -> str:
    if instant is None:
        return "an unknown date"
    return f"{instant.day} {instant:%B} {instant.year}, {instant:%H:%M} UTC"
