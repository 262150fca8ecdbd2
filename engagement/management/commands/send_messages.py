"""`manage.py send_messages`: send what is queued and due."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.conf import MAX_WORKERS
from engagement.formatting import duration_text
from engagement.management.base import WRONG_ARGUMENTS, SentenceCommand, refuse
from engagement.management.options import add_now, whole_number
from engagement.management.output.send_report import send_report
from engagement.management.output.terminal import progress_bar
from engagement.message_backends.base import configured_backend
from engagement.schedule import gap_to_clock
from engagement.services.delivery.sender import SendRequest, send_messages
from engagement.services.resilience.stop import StopRequest, stop_on_signals
from engagement.states import DAY

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from datetime import datetime


class Command(SentenceCommand):
    help = (
        "Send the messages that are queued and due, each at most once, through ENGAGEMENT_MESSAGE_BACKEND."
        " Safe to run at any time, repeatedly, and on several machines at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--limit", type=whole_number(1), metavar="N", help="send at most N messages")
        parser.add_argument(
            "--workers",
            type=whole_number(1, MAX_WORKERS),
            default=1,
            metavar="N",
            help="number of threads that share the work (1)",
        )
        parser.add_argument("--watch", action="store_true", help="go on until SIGTERM or Ctrl-C")
        parser.add_argument("--dry-run", action="store_true", help="count, and send and write nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--no-progress", action="store_true", help="show no progress bar on a terminal")
        add_now(parser, "send what is due")

    def handle(self, **options: Any) -> None:
        if options["watch"] and (options["now"] or options["dry_run"]):
            refuse(f"argument --watch: cannot be combined with {'--now' if options['now'] else '--dry-run'}")
        if options["now"]:
            self._look_at_the_clock(options["now"], dry_run=options["dry_run"])
        request = SendRequest(
            backend=configured_backend(),
            limit=options["limit"],
            workers=options["workers"],
            watch=options["watch"],
            dry_run=options["dry_run"],
            now=options["now"],
        )
        stop = StopRequest()
        shown = not (options["no_progress"] or options["watch"])
        with stop_on_signals(stop), progress_bar(shown=shown, description="messages") as progress:
            result = send_messages(request=request, stop=stop, progress=progress)
        report = json.dumps(result.as_json()) if options["json"] else send_report(result)
        self.write_report(report, dry_run=result.dry_run)
        self.write_metrics()
        if result.failure:
            self.say(result.failure)
        if result.exit_code:
            sys.exit(result.exit_code)

    def _look_at_the_clock(self, now: datetime, *, dry_run: bool) -> None:
        """Warn about a time that is off the clock; refuse one at which much would be cancelled as too old."""
        gap = gap_to_clock(now, clock=timezone.now())
        if gap is None:
            return
        if gap > DAY and not dry_run:
            raise CommandError(
                f"argument --now: is {duration_text(gap)} ahead of the clock. Messages whose time is over by"
                " then would be cancelled, so more than a day ahead needs --dry-run.",
                returncode=WRONG_ARGUMENTS,
            )
        side = "behind" if gap < timedelta() else "ahead of"
        self.say(
            f"--now is {duration_text(abs(gap))} {side} the clock. By it messages are due, within their"
            " hours, or too old and cancelled."
        )
