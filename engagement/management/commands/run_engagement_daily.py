"""`manage.py run_engagement_daily`: what cron calls at 06:00 UTC."""

from __future__ import annotations

import gc
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone
from uuid_utils.compat import uuid7

from engagement.conf import MAX_BATCH_SIZE, MAX_GOODBYE_SHARE, MAX_GOODBYES
from engagement.management.base import SAFETY_LIMIT, SentenceCommand, exit_code
from engagement.management.options import add_now, whole_number
from engagement.management.output.job_report import report
from engagement.management.output.progress_bar import progress_bar
from engagement.services.job.aftermath import aftermath_of
from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.resilience.stop import StopRequest, stop_on_signals
from engagement.states import CHECKS

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from engagement.services.job.result import RunResult

MAX_WORKERS: Final = 64
"""Each has a connection to the database."""


class Command(SentenceCommand):
    help = (
        "Say goodbye to whoever has been silent for 14 days, and let whoever did not answer go dormant."
        " Safe to run at any time, twice, and on several machines at once."
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
            choices=[check.name for check in CHECKS],
            metavar="NAME",
            help=f"only these checks: {', '.join(check.name for check in CHECKS)}",
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
            default=1,
            metavar="N",
            help="processes that share the work (1)",
        )
        parser.add_argument(
            "--allow-large-run",
            action="store_true",
            help="move users even if there are more goodbyes than the settings"
            f" {MAX_GOODBYES} and {MAX_GOODBYE_SHARE} allow",
        )
        parser.add_argument("--dry-run", action="store_true", help="count, and write nothing")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
        parser.add_argument(
            "--no-progress", action="store_true", help="no progress bar (there is none off a terminal)"
        )

    def handle(self, **options: Any) -> None:
        request = RunRequest(
            job_id=uuid7(),
            now=options["now"] or timezone.now(),
            checks=[check for check in CHECKS if check.name in (options["check"] or _ALL_NAMES)],
            limit=options["limit"],
            batch_size=options["batch_size"],
            workers=options["workers"],
            dry_run=options["dry_run"],
            allow_large_run=options["allow_large_run"],
        )
        stop = StopRequest()
        with stop_on_signals(stop), progress_bar(shown=not options["no_progress"]) as progress:
            result = run_daily_job(request=request, stop=stop, progress=progress)
        self._print(result, as_json=options["json"])
        if code := _exit_code(result, stop):
            sys.exit(code)

    def _print(self, result: RunResult, *, as_json: bool) -> None:
        self.write_result(json.dumps(result.as_json()) if as_json else report(result, aftermath_of(result)))
        if sentence := result.failure or result.too_large:
            self.say(sentence)


_ALL_NAMES: Final = frozenset(check.name for check in CHECKS)


def _exit_code(result: RunResult, stop: StopRequest) -> int:
    if result.too_large and not result.dry_run:
        return SAFETY_LIMIT
    return exit_code(result.status, stop)
