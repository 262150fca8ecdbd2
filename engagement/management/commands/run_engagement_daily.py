"""`manage.py run_engagement_daily`: one run of the daily job, for cron to call."""

from __future__ import annotations

import gc
import json
import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.utils import timezone
from uuid_utils.compat import uuid7

from engagement.conf import (
    MAX_BATCH_SIZE,
    MAX_GOODBYE_SHARE,
    MAX_GOODBYES,
    MAX_WORKERS,
    MESSAGE_BACKEND,
    WORKERS,
    raw_setting,
)
from engagement.formatting import duration_text
from engagement.management.base import SentenceCommand
from engagement.management.options import add_now, whole_number
from engagement.management.output.job_report import job_report
from engagement.management.output.terminal import progress_bar
from engagement.schedule import gap_to_clock
from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.resilience.stop import StopRequest, stop_on_signals
from engagement.states import CHECKS

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from datetime import datetime

    from engagement.services.job.result import RunResult

CHECK_NAMES: Final = [check.name for check in CHECKS]


class Command(SentenceCommand):
    help = (
        "Queue a goodbye for users who have been silent for more than ENGAGEMENT_INACTIVITY_DAYS days. Make"
        " users dormant who did not answer a goodbye in time or whose reminder is due. Safe to run at any"
        " time, repeatedly, and on several machines at once."
    )

    def run_from_argv(self, argv: list[str]) -> None:
        gc.disable()  # The rows of a batch hold no cycles: searching them is an eighth of Python's time.
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_now(parser, "run")
        parser.add_argument(
            "--check",
            nargs="+",
            action="extend",
            choices=CHECK_NAMES,
            metavar="NAME",
            help=f"make only these checks: {', '.join(CHECK_NAMES)}",
        )
        parser.add_argument(
            "--limit",
            type=whole_number(1),
            metavar="N",
            help="move at most N users in the whole run, the longest silent first",
        )
        parser.add_argument(
            "--batch-size",
            type=whole_number(1, MAX_BATCH_SIZE),
            metavar="N",
            help="users per transaction (the setting ENGAGEMENT_BATCH_SIZE, 1000)",
        )
        parser.add_argument(
            "--workers",
            type=whole_number(1, MAX_WORKERS),
            metavar="N",
            help=f"number of threads that share the work (the setting {WORKERS})",
        )
        parser.add_argument(
            "--allow-large-run",
            action="store_true",
            help=f"ignore the safety limits {MAX_GOODBYES} and {MAX_GOODBYE_SHARE}",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument("--no-progress", action="store_true", help="show no progress bar on a terminal")

    def handle(self, **options: Any) -> None:
        request = RunRequest(
            job_id=uuid7(),
            now=options["now"] or timezone.now(),
            checks=[check for check in CHECKS if check.name in (options["check"] or CHECK_NAMES)],
            limit=options["limit"],
            batch_size=options["batch_size"],
            workers=options["workers"],
            dry_run=options["dry_run"],
            allow_large_run=options["allow_large_run"],
        )
        if gap := gap_to_clock(request.now, clock=timezone.now()):
            self.say(_gap_sentence(gap))
        stop = StopRequest()
        with stop_on_signals(stop), progress_bar(shown=not options["no_progress"]) as progress:
            result = run_daily_job(request=request, stop=stop, listeners=[progress] if progress else [])
        self._print(result, as_json=options["json"])
        self.write_metrics()
        if not (request.dry_run or result.failure) and (hint := _hint(request.now)):
            self.say(hint)
        if result.exit_code:
            sys.exit(result.exit_code)

    def _print(self, result: RunResult, *, as_json: bool) -> None:
        report = json.dumps(result.as_json()) if as_json else job_report(result)
        self.write_report(report, dry_run=result.dry_run)
        if sentence := result.failure or result.too_large:
            self.say(sentence)


def _hint(now: datetime) -> str | None:
    """What the operator should know of the queue, if this installation sends. Raises nothing."""
    if not raw_setting(MESSAGE_BACKEND):
        return None
    # Here, so that a run that does not send does not load the sender.
    from engagement.message_backends.base import named_backend
    from engagement.services.delivery.capacity import queue_hint

    with suppress(ImproperlyConfigured, DatabaseError):
        # Its secrets may be the sender's alone.
        return queue_hint(named_backend(), now=now)
    return None


def _gap_sentence(gap: timedelta) -> str:
    if gap < timedelta():
        return (
            f"--now is {duration_text(-gap)} behind the clock. A missed run needs no making up: the users who"
            " were due then are due now."
        )
    return f"--now is {duration_text(gap)} ahead of the clock: users who are not due yet are moved."
