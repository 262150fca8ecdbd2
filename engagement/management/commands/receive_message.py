"""`manage.py receive_message`: process messages of users, for programs without Python."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.utils import timezone

from engagement.conf import engagement_settings
from engagement.formatting import count_text
from engagement.management.base import SentenceCommand, refuse
from engagement.management.options import identifier, timestamp
from engagement.privacy import redact
from engagement.replies import Preference
from engagement.schedule import utc_timestamp
from engagement.services.inbound_messages import receive_message
from engagement.services.message_novelty import Novelty
from engagement.services.resilience.errors import ErrorKind, error_kind, sentence_about
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
from engagement.services.state_machine import EngagementStateNotFound
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from django.core.management.base import CommandParser

    from engagement.services.inbound_messages import InboundResult

STDIN: Final = "-"
SOME_FAILED: Final = 3


class _Received(NamedTuple):
    """One message, as the caller reports it."""

    user_id: UUID
    text: str
    at: datetime


class MalformedLine(Exception):
    """A line of JSON that describes no message."""


class Command(SentenceCommand):
    help = (
        "Process one message of a user: update their state, cancel a pending goodbye, and print what to"
        " answer. Idempotent: the same message with the same --at changes nothing. Every account of the"
        " machine can read a command line, so pass private texts through stdin."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "user_id", nargs="?", metavar="USER_ID", type=identifier, help="the author's id, a UUID"
        )
        parser.add_argument(
            "text",
            nargs="?",
            metavar="TEXT",
            help="the text of the message, or - to read it from stdin; put -- before another text that begins"
            " with a dash",
        )
        parser.add_argument(
            "--at",
            metavar="TIMESTAMP",
            type=timestamp,
            help="time of the message (ISO 8601 with an offset), by default now",
        )
        parser.add_argument(
            "--json-lines",
            action="store_true",
            help="read many messages from stdin, one JSON object with user_id, text and at on each line, and"
            " print one JSON object for each",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        _refuse_contradictions(options)
        if options["json_lines"]:
            self._receive_many()
            return
        text: str = options["text"]
        received = _Received(
            options["user_id"],
            _stdin_text() if text == STDIN else text,
            options["at"] or timezone.now(),
        )
        try:
            result = _receive(received)
        except EngagementStateNotFound:
            raise CommandError(_unknown_user(received.user_id)) from None
        as_json = options["json"]
        self.write_answer(
            json.dumps(_as_json(received, result)) if as_json else "\n".join(_sentences(result))
        )

    def _receive_many(self) -> None:
        """Each line is a message of its own: a bad one does not keep the others from being processed."""
        retries = RetryPolicy.of(engagement_settings(), stop=StopRequest())
        failed = 0
        for number, line in enumerate(sys.stdin.buffer, start=1):
            if not line.strip():
                continue
            report = _report_on(line, number=number, retries=retries)
            if "error" in report:
                failed += 1
                self.say(f"line {number}: {report['error']}")
            if not self.write_result(json.dumps(report)):
                raise CommandError(f"Line {number} is the last one that was processed.")
        if failed:
            self.say(f"{count_text(failed, 'line')} could not be processed; the others were.")
            sys.exit(SOME_FAILED)


def _report_on(line: bytes, *, number: int, retries: RetryPolicy) -> dict[str, object]:
    """Process a line, also if the database is away for a while. Raises CommandError if it stays away."""
    try:
        received = _parsed(line)
        return _as_json(received, retries.retry_outages(partial(_receive, received)))
    except MalformedLine as error:
        return {"line": number, "error": str(error)}
    except EngagementStateNotFound:
        return {"line": number, "error": _unknown_user(received.user_id)}
    except DatabaseError as error:
        if error_kind(error) in {ErrorKind.OUTAGE, ErrorKind.CONFIGURATION}:
            problem = (
                f"Line {number} may not have been processed, and those after it were not; send them again"
                f" with the same at. {sentence_about(error)}"
            )
            raise CommandError(problem) from None
        return {"line": number, "error": sentence_about(error)}


def _refuse_contradictions(options: Mapping[str, Any]) -> None:
    if options["json_lines"]:
        if options["user_id"] or options["text"] is not None or options["at"]:
            refuse("argument --json-lines: user, text and time come from stdin, not from arguments")
    elif options["user_id"] is None or options["text"] is None:
        refuse("the following arguments are required: USER_ID, TEXT")


def _stdin_text() -> str:
    """The whole of stdin, without the line feed that `echo` adds."""
    return sys.stdin.buffer.read().decode(errors="replace").removesuffix("\n")


def _parsed(line: bytes) -> _Received:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedLine("this is not a JSON object.") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
        raise MalformedLine("a JSON object with user_id and text, and perhaps at, is needed.")
    if unknown := sorted({*fields} - {*_Received._fields}):
        raise MalformedLine(f"unknown name {redact(unknown[0][:40])!r}; the names are user_id, text and at.")
    try:
        user_id = UUID(fields["user_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise MalformedLine("user_id must be a UUID.") from None
    try:
        at = timezone.now() if fields.get("at") is None else utc_timestamp(fields["at"])
    except (ValueError, TypeError):
        raise MalformedLine("at must be a time in ISO 8601 with an offset.") from None
    return _Received(user_id, fields["text"], at)


def _receive(received: _Received) -> InboundResult:
    """Process a message. A time ahead of the clock counts as now, or later messages would seem old."""
    user_id, text, at = received
    return receive_message(user_id=user_id, text=text, received_at=at, now=min(at, timezone.now()))


def _unknown_user(user_id: UUID) -> str:
    return f"There is no user {user_id}; add a row to user_profiles first."


def _as_json(received: _Received, result: InboundResult) -> dict[str, object]:
    move = result.transition
    return {
        "user_id": str(received.user_id),
        "at": received.at.isoformat(),
        "novelty": result.novelty,
        "transition": move
        and {"from_state": move.from_state, "to_state": move.to_state, "trigger": move.trigger},
        "preference": result.preference,
        "reply_key": result.reply_key,
        "reply_params": result.reply_params,
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
        return "The state does not change: the message is older."
    move = result.transition
    if move is None:
        return "The user stays active."
    made = "Already processed: moved" if result.novelty is Novelty.REPEAT else "Moved"
    return f"{made} from {move.from_state} to {move.to_state} ({Trigger(move.trigger).label})."
