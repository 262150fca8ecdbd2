"""What is known of one user, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from engagement.models import MessageStatus
from engagement.selectors import SkipReason
from engagement.states import Trigger
from engagement.words import counted, date_in_words, outlook_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.histories import Message, Move, Standing
    from engagement.services.explanation import Explanation


def explanation_report(explanation: Explanation) -> str:
    """The user's state, what comes next, their history and their messages."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"User {explanation.user_id}, as of {date_in_words(explanation.now)}."
    if standing := explanation.standing:
        yield _state(standing, since=explanation.since)
        yield _activity(standing, now=explanation.now)
        yield from _reachability(standing)
    elif not explanation.has_profile:
        yield "The user has been deleted; what happened to them before is kept."
    yield outlook_in_words(explanation.outlook, standing=explanation.standing)
    yield "History:" if explanation.moves else "History: the audit log has no move of this user."
    for move in explanation.moves:
        yield f"- {_move(move)}"
    yield "Messages:" if explanation.messages else "Messages: none."
    for message in explanation.messages:
        yield f"- {_message(message)}"


def _state(standing: Standing, *, since: datetime | None) -> str:
    when = f"since {date_in_words(since)}" if since else "since when, the audit log does not say"
    return f"State: {standing.state}, {when}."


def _activity(standing: Standing, *, now: datetime) -> str:
    if standing.last_activity_at is None:
        return "Last active at a time that no calendar has."
    days = (now - standing.last_activity_at) // timedelta(days=1)
    ago = f"{counted(days, 'day')} ago" if days >= 0 else "in the future"
    return f"Last active: {date_in_words(standing.last_activity_at)}, {ago}."


def _reachability(standing: Standing) -> Iterator[str]:
    if not standing.obstacles:
        yield "Reachable, and not opted out."
    if SkipReason.OPTED_OUT in standing.obstacles:
        yield _opt_out(standing)
    if SkipReason.NO_DESTINATION in standing.obstacles:
        yield "Not reachable: no WhatsApp address."


def _opt_out(standing: Standing) -> str:
    if standing.opt_out_changed_at:
        return f"Opted out on {date_in_words(standing.opt_out_changed_at)}."
    changed_at = date_in_words(standing.profile_updated_at)
    return f"Opted out, nobody noted when; the profile was last changed on {changed_at}."


def _move(move: Move) -> str:
    told = move.metadata
    parts = [f"{move.from_state} -> {move.to_state}, {Trigger(move.trigger).label}"]
    if isinstance(days := told.get("days_inactive"), int):
        parts.append(f"silent for {counted(days, 'day')}")
    parts.extend(f"run {told[key]}" for key in ("job_id", "undone_job_id") if key in told)
    if "performed_by" in told:
        parts.append(f"by {told['performed_by']}")
    return f"{date_in_words(move.created_at)}: {', '.join(parts)}."


def _message(message: Message) -> str:
    what = f"{message.message_type}, queued on {date_in_words(message.created_at)}"
    match message.status:
        case MessageStatus.PENDING:
            return f"{what}: pending, to be sent from {date_in_words(message.scheduled_for)} on."
        case MessageStatus.SENT:
            return f"{what}: sent on {date_in_words(message.sent_at)}."
        case _:
            error = f" ({message.error_message})" if message.error_message else ""
            return f"{what}: {message.status}{error}."
