"""What is known about one user, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from engagement.formatting import count_text, date_text, next_step_sentence
from engagement.models import MessageStatus
from engagement.states import SkipReason, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.selectors.user_history import MessageRecord, TransitionRecord, UserStatus
    from engagement.services.explanation import Explanation


def explanation_report(explanation: Explanation) -> str:
    """The user's state, next step, history and messages."""
    return "\n".join(_lines(explanation))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"User {explanation.user_id}, as of {date_text(explanation.now)}."
    if status := explanation.user_status:
        yield from _status(status, since=explanation.since, now=explanation.now)
    elif not explanation.has_profile:
        yield "The user has been deleted. Their history remains."
    yield next_step_sentence(explanation.next_step)
    yield "History:" if explanation.transitions else "History: none."
    for transition in explanation.transitions:
        yield f"- {_transition(transition)}"
    yield "Messages:" if explanation.messages else "Messages: none."
    for message in explanation.messages:
        yield f"- {_message(message)}"


def _status(status: UserStatus, *, since: datetime | None, now: datetime) -> Iterator[str]:
    when = f"since {date_text(since)}" if since else "(start unknown: no audit entry)"
    yield f"State: {status.state} {when}."
    days = (now - status.last_activity_at) // timedelta(days=1)
    ago = f"{count_text(days, 'day')} ago" if days >= 0 else "in the future"
    yield f"Last active: {date_text(status.last_activity_at)}, {ago}."
    if SkipReason.OPTED_OUT not in status.obstacles:
        yield "Opted out: no."
    elif status.opt_out_changed_at:
        yield f"Opted out: yes, on {date_text(status.opt_out_changed_at)}."
    else:
        yield f"Opted out: yes, date unknown (profile last changed {date_text(status.profile_updated_at)})."
    yield f"WhatsApp address: {'no' if SkipReason.NO_DESTINATION in status.obstacles else 'yes'}."


def _transition(transition: TransitionRecord) -> str:
    metadata = transition.metadata
    parts = [f"{transition.from_state} -> {transition.to_state}, {Trigger(transition.trigger).label}"]
    if isinstance(days := metadata.get("days_inactive"), int):
        parts.append(f"silent for {count_text(days, 'day')}")
    parts.extend(f"run {metadata[key]}" for key in ("job_id", "undone_job_id") if key in metadata)
    if "performed_by" in metadata:
        parts.append(f"by {metadata['performed_by']}")
    return f"{date_text(transition.created_at)}: {', '.join(parts)}."


def _message(message: MessageRecord) -> str:
    text = f"{message.message_type}, queued on {date_text(message.created_at)}"
    match message.status:
        case MessageStatus.PENDING:
            return f"{text}: pending, scheduled for {date_text(message.scheduled_for)}."
        case MessageStatus.SENT:
            return f"{text}: sent on {date_text(message.sent_at)}."
        case _:
            error = f" ({message.error_message})" if message.error_message else ""
            return f"{text}: {message.status}{error}."
