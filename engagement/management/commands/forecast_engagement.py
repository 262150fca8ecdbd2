"""`manage.py forecast_engagement`: what will tomorrow's run do, and those after it?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import add_now, whole_number
from engagement.management.output.forecast_report import forecast_report
from engagement.services.forecast import forecast

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

DEFAULT_DAYS: Final = 14
MAX_DAYS: Final = 366


class Command(SentenceCommand):
    help = (
        "Count how many users each coming run would move, check by check, if nobody wrote in. The first"
        " line is a run at this moment, and says what run_engagement_daily --dry-run says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=whole_number(1, MAX_DAYS),
            default=DEFAULT_DAYS,
            metavar="N",
            help=f"how many runs, the one at this moment included ({DEFAULT_DAYS})",
        )
        add_now(parser, "look ahead")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    def handle(self, *_args: Any, **options: Any) -> None:
        runs = forecast(now=options["now"] or timezone.now(), days=options["days"])
        as_json = {"runs": [run.as_json() for run in runs]}
        self.write_result(json.dumps(as_json) if options["json"] else forecast_report(runs))
