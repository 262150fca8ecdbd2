"""`manage.py explain_engagement`: why a user did, or did not, get a goodbye."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.delivery_wording import delivery_text
from engagement.formatting import GOODBYE_NOTES, count_text, date_text, next_step_sentence
from engagement.management.base import SentenceCommand
from engagement.management.options import add_now, identifier
from engagement.services.explanation import UnknownUser, explain_user
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser

    from engagement.selectors.user_history import Consent, MessageRecord, TransitionRecord, UserStatus
    from engagement.services.explanation import Explanation


class Command(SentenceCommand):
    help = (
        "Show the state of one user and since when, the next step and when at the earliest, or why there is"
        " none, and their history and messages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user_id", metavar="USER_ID", type=identifier, help="the user's id, a UUID")
        add_now(parser, "explain")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            explanation = explain_user(user_id=options["user_id"], now=options["now"] or timezone.now())
        except UnknownUser as error:
            raise CommandError(str(error)) from None
        as_json = options["json"]
        self.write_answer(json.dumps(explanation.as_json()) if as_json else "\n".join(_lines(explanation)))


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"User {explanation.user_id}, as of {date_text(explanation.now)}."
    if status := explanation.user_status:
        yield from _status(status, since=explanation.since, now=explanation.now)
    if consent := explanation.consent:
        yield from _consent(consent)
    else:
        yield "The user has been deleted. Their history remains."
    yield next_step_sentence(explanation.next_step)
    yield "History:" if explanation.transitions else "History: none."
    for transition in explanation.transitions:
        yield f"- {_transition(transition)}"
    yield "Messages:" if explanation.messages else "Messages: none."
    for message in explanation.messages:
        yield f"- {_message(message, now=explanation.now)}"


def _status(status: UserStatus, *, since: datetime | None, now: datetime) -> Iterator[str]:
    when = f"since {date_text(since)}" if since else "(start unknown: no audit entry)"
    yield f"State: {status.state} {when}."
    days = (now - status.last_activity_at) // timedelta(days=1)
    ago = f"{count_text(days, 'day')} ago" if days >= 0 else "in the future"
    yield f"Last message other than a reply: {date_text(status.last_activity_at)}, {ago}."


def _consent(consent: Consent) -> Iterator[str]:
    if not consent.opted_out:
        yield "Opted out: no."
    elif consent.opt_out_changed_at:
        yield f"Opted out: yes, on {date_text(consent.opt_out_changed_at)}."
    else:
        yield f"Opted out: yes, date unknown (profile last changed {date_text(consent.updated_at)})."
    yield f"WhatsApp address: {'yes' if consent.is_reachable else 'no'}."


def _transition(transition: TransitionRecord) -> str:
    metadata = transition.metadata
    parts = [f"{transition.from_state} -> {transition.to_state}, {Trigger(transition.trigger).label}"]
    if isinstance(days := metadata.get("days_inactive"), int):
        parts.append(f"silent for {count_text(days, 'day')}")
    if note := GOODBYE_NOTES.get(str(metadata.get("goodbye"))):
        parts.append(str(note))
    parts.extend(f"run {metadata[key]}" for key in ("job_id", "undone_job_id") if key in metadata)
    if "performed_by" in metadata:
        parts.append(f"by {metadata['performed_by']}")
    return f"{date_text(transition.created_at)}: {', '.join(parts)}."


def _message(message: MessageRecord, *, now: datetime) -> str:
    text = f"{message.message_type}, queued on {date_text(message.created_at)}"
    error = f" ({message.error_message})" if message.error_message else ""
    return f"{text}: {delivery_text(message, now=now)}{error}."
