"""`manage.py pause_sending`: let no message leave until sending is resumed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from engagement.delivery_wording import until_text
from engagement.management.base import SentenceCommand
from engagement.management.options import add_backend, duration, words
from engagement.message_backends.base import named_backend
from engagement.selectors.deliveries import backends_since, database_now
from engagement.services.delivery.channels import WITHOUT_END, Paused, pause_sending

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from datetime import datetime

LATELY: Final = timedelta(days=7)
"""A backend that has claimed no message for so long, while others have, may be a mistake."""


class Command(SentenceCommand):
    help = (
        "Pause all senders of ENGAGEMENT_MESSAGE_BACKEND, or of another backend, on all machines. A message"
        " in flight ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--reason", type=words, required=True, metavar="TEXT", help="shown wherever the pause is"
        )
        parser.add_argument(
            "--for",
            dest="length",
            type=duration,
            metavar="DURATION",
            help="how long, such as 90m or 6h (default: until resume_sending)",
        )
        add_backend(parser, "pause this backend instead, or a client of the HTTP API")

    def handle(self, **options: Any) -> None:
        # Without its settings: a sender that lacks them can be paused, too.
        backend, now = options["backend"] or named_backend().name, database_now()
        until = now + options["length"] if options["length"] else WITHOUT_END
        paused = pause_sending(backend=backend, until=until, reason=options["reason"], now=now)
        self.write_result(f"Sending by {backend} is paused {until_text(paused.until)}.")
        if paused != Paused.of(until, options["reason"]):
            self.write_result(
                f"It was paused before, and that pause stays: {paused.reason.rstrip('.')}."
                " To replace it, call resume_sending first."
            )
        self._doubt(backend, now=now)

    def _doubt(self, backend: str, *, now: datetime) -> None:
        """Say so if others send and this one does not: who mistypes a name believes that nothing leaves."""
        senders = backends_since(now - LATELY)
        if senders and backend not in senders:
            self.say(
                f"{backend} has claimed no message in the last {LATELY.days} days. If that is not the backend"
                f" to pause, name it with --backend; these have: {', '.join(senders)}."
            )
