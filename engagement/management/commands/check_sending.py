"""`manage.py check_sending`: what a monitor calls to find out whether messages leave in time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from engagement.delivery_wording import until_text
from engagement.formatting import count_text, duration_text
from engagement.management.base import SentenceCommand
from engagement.management.options import duration
from engagement.message_backends.base import configured_backend
from engagement.services.delivery.monitor import DEFAULT_MAX_AGE, watch_sending

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from engagement.services.delivery.monitor import SendingWatch


class Command(SentenceCommand):
    help = (
        "Exit with 0 if due messages leave in time and none needs a person, else with 1 and the reasons. A"
        " message that waits for its hours or for the daily cap is not late."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=DEFAULT_MAX_AGE,
            metavar="DURATION",
            help="how long a due message may wait, such as 30m (the default) or 2h",
        )
        parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")

    def handle(self, **options: Any) -> None:
        watch = watch_sending(backend=configured_backend().name, max_age=options["max_age"])
        self.write_metrics()
        if options["json"]:
            self.write_result(json.dumps(watch.as_json()))
        elif watch.is_good:
            self.write_result(_good(watch))
        if not watch.is_good:
            self.say(" ".join(_problems(watch)))
            sys.exit(1)


def _good(watch: SendingWatch) -> str:
    age = watch.oldest_age
    waiting = f"The oldest due message is {duration_text(age)} late" if age else "No message is due"
    last = watch.counts.last_sent_at
    sent = f"; the last was sent {duration_text(watch.now - last)} ago" if last else ""
    return f"{waiting}{sent}."


def _problems(watch: SendingWatch) -> Iterator[str]:
    counts = watch.counts
    if watch.paused:
        yield f"Sending is paused {until_text(watch.paused.until)}: {watch.paused.reason}."
    if watch.is_late and watch.oldest_age:
        allowed = duration_text(watch.max_age)
        yield f"The oldest due message is {duration_text(watch.oldest_age)} late (maximum {allowed})."
        if counts.last_sent_at is None or watch.now - counts.last_sent_at > watch.max_age:
            yield "No message was sent since: is send_messages running?"
    if counts.unknown:
        unknown = count_text(counts.unknown, "message")
        yield f"{unknown} of the last 7 days with an unknown outcome: see resolve_message."
    if watch.stale:
        yield f"{count_text(watch.stale, 'claim')} expired: a sender died, and none has run since."
    if counts.not_delivered:
        yield f"{count_text(counts.not_delivered, 'message')} of the last day reported as not delivered."
