"""`manage.py check_sending`: what a monitor calls to find out whether messages leave in time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from engagement.delivery_wording import pause_sentence, until_text
from engagement.formatting import count_text, duration_text
from engagement.management.base import SentenceCommand
from engagement.management.options import add_backend, duration
from engagement.message_backends.base import backend_if_any
from engagement.services.delivery.monitor import DEFAULT_MAX_AGE, watch_sending

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.services.delivery.monitor import SendingWatch


class Command(SentenceCommand):
    help = (
        "Exit with 0 if due messages leave in time and none needs a person, else with 1 and the reasons. A"
        " message that waits for its hours, for the daily cap or for its turn at the pace is not late."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=DEFAULT_MAX_AGE,
            metavar="DURATION",
            help="how long a due message may wait, such as 30m (the default) or 2h",
        )
        add_backend(parser, "report only the pauses of this backend, or of this client of the HTTP API")
        parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")

    def handle(self, **options: Any) -> None:
        watch = watch_sending(backend=backend_if_any(), max_age=options["max_age"], only=options["backend"])
        self.write_metrics()
        if options["json"]:
            self.write_result(json.dumps(watch.as_json()))
        elif watch.is_good:
            self.write_result(_good(watch))
        if not watch.is_good:
            self.say(" ".join(_problems(watch)))
            sys.exit(1)


def _good(watch: SendingWatch) -> str:
    oldest = watch.counts.oldest_due_at
    waiting = f"The oldest due message has waited {_age(oldest, watch)}" if oldest else "No message is due"
    last = watch.counts.last_sent_at
    sent = f"; the last was sent {duration_text(watch.now - last)} ago" if last else ""
    return f"{waiting}{sent}."


def _age(since: datetime, watch: SendingWatch) -> str:
    return duration_text(watch.now - since)


def _problems(watch: SendingWatch) -> Iterator[str]:
    counts = watch.counts
    yield from map(pause_sentence, watch.pauses)
    for channel in watch.waits:
        until = until_text(channel.slowed_until or watch.now)
        yield f"{channel.backend} waits {until}, as its provider has asked; resume_sending ends that."
    if watch.late_since:
        age, allowed = _age(watch.late_since, watch), duration_text(watch.max_age)
        yield f"The oldest due message is {age} late (maximum {allowed})."
        if counts.last_sent_at is None or watch.now - counts.last_sent_at > watch.max_age:
            yield "No message was sent since: is send_messages running?"
    if watch.hint:
        yield watch.hint
    if counts.unknown:
        unknown = count_text(counts.unknown, "message")
        yield f"{unknown} of the last 7 days with an unknown outcome: see resolve_message."
    if watch.stale:
        yield f"{count_text(watch.stale, 'claim')} expired: a sender died, and none has run since."
    if counts.unclaimable:
        yield (
            f"{count_text(counts.unclaimable, 'message')} could not be claimed; the sender logs why, as"
            " engagement_message_crashed."
        )
    if counts.not_delivered:
        yield f"{count_text(counts.not_delivered, 'message')} of the last day reported as not delivered."
