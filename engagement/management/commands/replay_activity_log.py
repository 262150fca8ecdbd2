"""`manage.py replay_activity_log`: what a policy would have done to the users of an activity log."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from engagement.conf import WHOLE_NUMBERS
from engagement.management.base import FAILED, SentenceCommand, printable, refuse
from engagement.management.options import calendar_date, svg_file, whole_number
from engagement.management.output.replay_plot import svg_of
from engagement.management.output.replay_report import report
from engagement.management.output.terminal import progress_bar
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.period import NothingToReplay
from engagement.replay.simulation import ReplayInterrupted, replay_activity_log
from engagement.services.job.result import SIGNAL_BASE
from engagement.services.resilience.stop import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from engagement.replay.comparison import ReplayResult

_INACTIVITY = WHOLE_NUMBERS["ENGAGEMENT_INACTIVITY_DAYS"]


class Command(SentenceCommand):
    help = (
        "Play an activity log day by day, with the daily run at ENGAGEMENT_RUN_TIME, and count what would"
        " have happened. The database is not used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            type=Path,
            help="CSV, plain or gzipped, with the columns user and occurred_at, and optionally"
            " locale, whatsapp_jid, reengagement_opt_out and text",
        )
        parser.add_argument(
            "--from",
            dest="first_date",
            type=calendar_date,
            metavar="DATE",
            help="the first day with a run (default: the log's first day); earlier events only count as"
            " activity",
        )
        parser.add_argument(
            "--to",
            dest="last_date",
            type=calendar_date,
            metavar="DATE",
            help="the last day (default: the log's last day)",
        )
        parser.add_argument(
            "--inactivity-days",
            nargs="+",
            action="extend",
            default=[],
            type=whole_number(_INACTIVITY.minimum, _INACTIVITY.maximum),
            metavar="N",
            help="days of silence before a goodbye (default: the setting ENGAGEMENT_INACTIVITY_DAYS);"
            " several values are compared",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
        parser.add_argument(
            "--plot", type=svg_file, metavar="FILE.svg", help="also draw the users per state over time"
        )

    def handle(self, **options: Any) -> None:
        _refuse_contradictions(options)
        if options["plot"]:
            _require_matplotlib()
        result = _replay(options)
        name = printable(options["file"])
        text = (
            json.dumps({"file": name, **result.as_json()}) if options["json"] else report(result, name=name)
        )
        was_written = self.write_result(text)
        if options["plot"]:
            _write(options["plot"], svg_of(result))
        if not was_written:
            sys.exit(FAILED)


def _refuse_contradictions(options: dict[str, Any]) -> None:
    first, last, days = options["first_date"], options["last_date"], options["inactivity_days"]
    if first and last and first > last:
        refuse(f"argument --to: must not be before --from, {first}")
    if twice := [number for number in days if days.count(number) > 1]:
        refuse(f"argument --inactivity-days: each value must be given once, but {twice[0]} is repeated")


def _require_matplotlib() -> None:
    """Before the replay, not after it."""
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        raise CommandError(
            "--plot needs matplotlib, which is not installed;"
            " run pip install --require-hashes -r requirements/plot.txt"
        ) from None


def _replay(options: dict[str, Any]) -> ReplayResult:
    stop = StopRequest()
    try:
        with stop_on_signals(stop), progress_bar(shown=True, description="days") as progress:
            return replay_activity_log(
                path=options["file"],
                first_date=options["first_date"],
                last_date=options["last_date"],
                inactivity_days=options["inactivity_days"],
                stop=stop,
                progress=progress,
            )
    except NothingToReplay as error:
        raise CommandError(f"{printable(options['file'])}: {error}.") from None
    except MalformedActivityLog as error:
        raise CommandError(str(error)) from None
    except ReplayInterrupted:
        raise CommandError("Interrupted.", returncode=SIGNAL_BASE + (stop.signal_number or 0)) from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise CommandError(
            f"The picture could not be written to {path}: {error.strerror or error}."
        ) from None
