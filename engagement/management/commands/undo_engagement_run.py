"""`manage.py undo_engagement_run`: take a run back that should not have been."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import identifier
from engagement.management.output.undo_report import undo_report
from engagement.services.job.result import exit_code
from engagement.services.resilience.stop import StopRequest, stop_on_signals
from engagement.services.undo.undo_run import UndoRequest, UnknownRun, undo_run

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SentenceCommand):
    help = (
        "Put the users whom a run moved, and who are still exactly as it left them, back to where they"
        " were, and cancel their goodbyes that have not been sent. Safe to interrupt and to repeat. They"
        " are due again for the next run: put right first what was wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "job_id",
            metavar="JOB_ID",
            type=identifier,
            help="as the run's report and log have it",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        request = UndoRequest(job_id=options["job_id"], now=timezone.now(), dry_run=options["dry_run"])
        stop = StopRequest()
        try:
            with stop_on_signals(stop):
                result = undo_run(request=request, stop=stop)
        except UnknownRun as error:
            raise CommandError(str(error)) from None
        self.write_result(json.dumps(result.as_json()) if options["json"] else undo_report(result))
        if result.failure:
            self.say(result.failure)
        if code := exit_code(result.status, signal_number=stop.signal_number):
            sys.exit(code)
