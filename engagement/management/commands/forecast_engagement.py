"""`manage.py forecast_engagement`: what the coming runs will do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import add_now, whole_number
from engagement.management.output.terminal import as_text, new_table
from engagement.services.forecast import forecast
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

    from engagement.services.forecast import RunForecast

DEFAULT_DAYS: Final = 14
MAX_DAYS: Final = 366


class Command(SentenceCommand):
    help = (
        "Count the users that each coming run would move, by check, assuming no new messages. The first line"
        " is a run at this moment, with the counts of run_engagement_daily --dry-run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=whole_number(1, MAX_DAYS),
            default=DEFAULT_DAYS,
            metavar="N",
            help=f"number of runs, including the one at this moment ({DEFAULT_DAYS})",
        )
        add_now(parser, "forecast")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    def handle(self, *_args: Any, **options: Any) -> None:
        runs = forecast(now=options["now"] or timezone.now(), days=options["days"])
        as_json = {"runs": [run.as_json() for run in runs]}
        self.write_answer(json.dumps(as_json) if options["json"] else _report(runs))


def _report(runs: Sequence[RunForecast]) -> str:
    table = new_table(f"Forecast from {runs[0].now:%Y-%m-%d %H:%M} UTC, assuming no new messages")
    table.add_column("run (UTC)", no_wrap=True)
    for heading in (*(check.name for check in CHECKS), "skipped"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        counts = (*run.checks.values(), run.skipped.total)
        table.add_row(f"{run.now:%a %Y-%m-%d %H:%M}", *(f"{count:,}" for count in counts))
    total = sum(run.processed for run in runs)
    lines = [
        f"Total transitions: {total:,}.",
        "Skipped users opted out or have no address. Every run counts them again.",
    ]
    return as_text(table, lines)
