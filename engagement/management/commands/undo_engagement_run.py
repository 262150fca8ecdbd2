"""`manage.py undo_engagement_run`: undo the transitions of one run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.management.options import identifier
from engagement.management.output.terminal import failure_lines, outcome_line
from engagement.services.job.result import exit_code
from engagement.services.resilience.stop import StopRequest, stop_on_signals
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_result import NotUndoneReason
from engagement.services.undo.undo_run import UnknownRun, undo_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

    from engagement.services.undo.undo_result import UndoResult


class Command(SentenceCommand):
    help = (
        "Return the users whom a run moved, and who have not changed since, to their former state, and cancel"
        " their unsent goodbyes. Safe to interrupt and to repeat. The next run moves the same users"
        " again: correct the cause first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "job_id", metavar="JOB_ID", type=identifier, help="the run's id, from its report or log"
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
        report = json.dumps(result.as_json()) if options["json"] else "\n".join(_lines(result))
        self.write_report(report, dry_run=result.dry_run)
        if result.failure:
            self.say(result.failure)
        if code := exit_code(result.status, signal_number=stop.signal_number):
            sys.exit(code)


def _lines(result: UndoResult) -> Iterator[str]:
    if result.dry_run:
        yield "Dry run: nothing was written."
    yield (
        f"{count_text(result.counts.undone, 'user')} returned to their state before run {result.job_id};"
        f" {count_text(result.counts.messages_cancelled, 'unsent goodbye')} cancelled."
    )
    for reason in NotUndoneReason:
        if count := result.counts.not_undone.get(reason):
            yield f"Not undone: {count:,}, {reason.label}."
    yield from failure_lines(result.counts.errors, total=result.counts.failed)
    yield outcome_line(result.status, duration_ms=result.duration_ms)
