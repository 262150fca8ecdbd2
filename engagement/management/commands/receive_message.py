"""`manage.py receive_message`: process one message of a user, for programs without Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import identifier, timestamp
from engagement.replies import Preference
from engagement.services.inbound_messages import Novelty, receive_message
from engagement.services.state_machine import EngagementStateNotFound
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser

    from engagement.services.inbound_messages import InboundResult


class Command(SentenceCommand):
    help = (
        "Process one message of a user: update their state, cancel a pending goodbye, and print what to"
        " answer. Idempotent: the same message with the same --at changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user_id", metavar="USER_ID", type=identifier, help="the author's id, a UUID")
        parser.add_argument(
            "text",
            metavar="TEXT",
            help="the text of the message; put -- before a text that begins with a dash",
        )
        parser.add_argument(
            "--at",
            metavar="TIMESTAMP",
            type=timestamp,
            help="time of the message (ISO 8601 with an offset), by default now",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        at: datetime = options["at"] or timezone.now()
        # argparse turns a text of just two dashes into an empty list.
        text = options["text"] or ""
        try:
            result = receive_message(user_id=options["user_id"], text=text, received_at=at, now=at)
        except EngagementStateNotFound:
            raise CommandError(
                f"There is no user {options['user_id']}; add a row to user_profiles first."
            ) from None
        if options["json"]:
            report = {"user_id": str(options["user_id"]), "at": at.isoformat(), **_as_json(result)}
            self.write_result(json.dumps(report))
        else:
            self.write_result("\n".join(_sentences(result)))


def _as_json(result: InboundResult) -> dict[str, object]:
    move = result.transition
    return {
        "novelty": result.novelty,
        "transition": move
        and {"from_state": move.from_state, "to_state": move.to_state, "trigger": move.trigger},
        "preference": result.preference,
        "reply_key": result.reply_key,
        "cancelled": result.cancelled,
    }


def _sentences(result: InboundResult) -> Iterator[str]:
    yield _what_happened(result)
    if result.preference:
        wants_none = result.preference is Preference.OPTED_OUT
        yield "The user opted out." if wants_none else "The user opted in."
    if result.cancelled:
        yield f"Pending messages cancelled: {result.cancelled}."
    yield f"Answer with: {result.reply_key}." if result.reply_key else "No answer needed."


def _what_happened(result: InboundResult) -> str:
    if result.novelty is Novelty.OLD:
        return "No change: the message is older than the current state."
    move = result.transition
    if move is None:
        return "No change: the user is active."
    made = "Already processed: moved" if result.novelty is Novelty.REPEAT else "Moved"
    return f"{made} from {move.from_state} to {move.to_state} ({Trigger(move.trigger).label})."
