"""`manage.py purge_engagement_history`: delete history that is older than it has to be."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.management.options import whole_number
from engagement.services.purge import BATCH_SIZE, SHORTEST, purge_history
from engagement.services.resilience.stop import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from argparse import ArgumentParser

DAYS: Final = {"d": 1, "y": 365}
MOST_DAYS: Final = 36_500


def age(text: str) -> timedelta:
    """An age in days or years of 365 days, such as 400d or 2y."""
    number, unit = text[:-1], text[-1:]
    days = int(number) * DAYS[unit] if number.isdecimal() and len(number) < 6 and unit in DAYS else 0  # noqa: PLR2004
    if not SHORTEST.days <= days <= MOST_DAYS:
        longest = MOST_DAYS // DAYS["y"]
        raise ArgumentTypeError(
            f"must be from {SHORTEST.days}d to {longest}y, such as 400d or 2y, not {text[:40]!r}"
        )
    return timedelta(days=days)


class Command(SentenceCommand):
    help = (
        "Delete transitions, ended messages and runs that are older, but not the latest transition of a user."
        " Without --yes, only count."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than", type=age, required=True, metavar="AGE", help="such as 400d or 2y (90d at least)"
        )
        parser.add_argument("--yes", action="store_true", help="delete, not only count")
        parser.add_argument(
            "--batch-size",
            type=whole_number(1, 100_000),
            default=BATCH_SIZE,
            metavar="N",
            help=f"rows that one transaction walks ({BATCH_SIZE})",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, **options: Any) -> None:
        now, stop, dry_run = timezone.now(), StopRequest(), not options["yes"]
        before = now - options["older_than"]
        with stop_on_signals(stop):
            purged = purge_history(
                before=before, now=now, dry_run=dry_run, batch_size=options["batch_size"], stop=stop
            )
        if options["json"]:
            report = {"before": before.isoformat(), "dry_run": dry_run, "complete": purged.is_complete}
            self.write_report(json.dumps({**report, "rows": purged.rows}), dry_run=dry_run)
        else:
            lines = [f"{name}: {count_text(rows, 'row')}" for name, rows in purged.rows.items()]
            heading = "Would be deleted" if dry_run else "Deleted"
            again = "\nRepeat the command with --yes." if dry_run else ""
            text = "\n".join([f"{heading}, from before {before:%Y-%m-%d}:", *lines]) + again
            self.write_report(text, dry_run=dry_run)
        if not purged.is_complete:
            self.say("stopped before the end; run it again for the rest.")
            sys.exit(128 + (stop.signal_number or 0))
