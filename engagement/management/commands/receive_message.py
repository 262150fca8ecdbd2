"""`manage.py receive_message`: what the assistant calls for every message, for people and other programs."""

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
        "Take in one message of a user: move them, cancel a goodbye that is pending, and say what to"
        " answer. The same message again, with the same --at, changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user_id", metavar="USER_ID", type=identifier, help="the user who wrote")
        parser.add_argument(
            "text", metavar="TEXT", help="what they wrote; put -- before a text that begins with a dash"
        )
        parser.add_argument(
            "--at",
            metavar="TIMESTAMP",
            type=timestamp,
            help="as of this time (ISO 8601 with an offset) instead of the clock's",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        at: datetime = options["at"] or timezone.now()
        # Python's parser makes an empty list of a text that is nothing but two dashes.
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
        yield "The user opted out of re-engagement." if wants_none else "The user opted in again."
    if result.cancelled:
        yield f"Pending messages cancelled: {result.cancelled}."
    yield f"Answer now with {result.reply_key}." if result.reply_key else "There is nothing to answer."


def _what_happened(result: InboundResult) -> str:
    if result.novelty is Novelty.OLD:
        return "Nobody moved: the message is older than what the user has said or how they stand."
    move = result.transition
    if move is None:
        return "Nobody moved: the user is active."
    made = "This message has made its move already" if result.novelty is Novelty.REPEAT else "Moved"
    return f"{made}: from {move.from_state} to {move.to_state} ({Trigger(move.trigger).label})."
