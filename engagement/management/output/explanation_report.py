"""What is known of one user, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from engagement.formatting import count_text, date_text, next_step_sentence
from engagement.models import MessageStatus
from engagement.selectors.due_users import SkipReason
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.selectors.user_history import Message, Move, UserStatus
    from engagement.services.explanation import Explanation


def explanation_report(explanation: Explanation) -> str:
    """The user's state, what comes next, their history and their messages."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"User {explanation.user_id}, as of {date_text(explanation.now)}."
    if user_status := explanation.user_status:
        yield _state(user_status, since=explanation.since)
        yield _activity(user_status, now=explanation.now)
        yield from _reachability(user_status)
    elif not explanation.has_profile:
        yield "The user has been deleted; what happened to them before is kept."
    yield next_step_sentence(explanation.next_step, user_status=explanation.user_status)
    yield "History:" if explanation.moves else "History: the audit log has no move of this user."
    for move in explanation.moves:
        yield f"- {_move(move)}"
    yield "Messages:" if explanation.messages else "Messages: none."
    for message in explanation.messages:
        yield f"- {_message(message)}"


def _state(user_status: UserStatus, *, since: datetime | None) -> str:
    when = f"since {date_text(since)}" if since else "since when, the audit log does not say"
    return f"State: {user_status.state}, {when}."


def _activity(user_status: UserStatus, *, now: datetime) -> str:
    if user_status.last_activity_at is None:
        return "Last active at a time that no calendar has."
    days = (now - user_status.last_activity_at) // timedelta(days=1)
    ago = f"{count_text(days, 'day')} ago" if days >= 0 else "in the future"
    return f"Last active: {date_text(user_status.last_activity_at)}, {ago}."


def _reachability(user_status: UserStatus) -> Iterator[str]:
    if not user_status.obstacles:
        yield "Reachable, and not opted out."
    if SkipReason.OPTED_OUT in user_status.obstacles:
        yield _opt_out(user_status)
    if SkipReason.NO_DESTINATION in user_status.obstacles:
        yield "Not reachable: no WhatsApp address."


def _opt_out(user_status: UserStatus) -> str:
    if user_status.opt_out_changed_at:
        return f"Opted out on {date_text(user_status.opt_out_changed_at)}."
    changed_at = date_text(user_status.profile_updated_at)
    return f"Opted out, nobody noted when; the profile was last changed on {changed_at}."


def _move(move: Move) -> str:
    told = move.metadata
    parts = [f"{move.from_state} -> {move.to_state}, {Trigger(move.trigger).label}"]
    if isinstance(days := told.get("days_inactive"), int):
        parts.append(f"silent for {count_text(days, 'day')}")
    parts.extend(f"run {told[key]}" for key in ("job_id", "undone_job_id") if key in told)
    if "performed_by" in told:
        parts.append(f"by {told['performed_by']}")
    return f"{date_text(move.created_at)}: {', '.join(parts)}."


def _message(message: Message) -> str:
    what = f"{message.message_type}, queued on {date_text(message.created_at)}"
    match message.status:
        case MessageStatus.PENDING:
            return f"{what}: pending, to be sent from {date_text(message.scheduled_for)} on."
        case MessageStatus.SENT:
            return f"{what}: sent on {date_text(message.sent_at)}."
        case _:
            error = f" ({message.error_message})" if message.error_message else ""
            return f"{what}: {message.status}{error}."
