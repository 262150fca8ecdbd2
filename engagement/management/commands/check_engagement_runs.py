"""`manage.py check_engagement_runs`: what a monitor calls to hear whether last night's run happened."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import duration
from engagement.management.output.watch_report import sentence, watch_json
from engagement.services.run_monitor import watch_runs

if TYPE_CHECKING:
    from argparse import ArgumentParser

DEFAULT_MAX_AGE: Final = timedelta(hours=26)
"""A day, and two hours to be late."""


class Command(SentenceCommand):
    help = (
        "Exit with 0 if the last good run of the daily job is fresh enough, and with 1 and the reason if not."
        " A run is good if it came to its end; users who failed in it are named by the run itself."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=DEFAULT_MAX_AGE,
            metavar="DURATION",
            help="how old the last good run may be, such as 90m, 26h (the default) or 2d",
        )
        parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")

    def handle(self, **options: Any) -> None:
        max_age = options["max_age"]
        watch = watch_runs(now=timezone.now(), max_age=max_age)
        answer = sentence(watch, max_age=max_age)
        if options["json"]:
            self.write_result(json.dumps(watch_json(watch, max_age=max_age)))
        elif watch.is_fresh:
            self.write_result(answer)
        if not watch.is_fresh:
            self.say(answer)
            sys.exit(1)
