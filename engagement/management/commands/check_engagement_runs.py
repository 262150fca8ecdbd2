"""`manage.py check_engagement_runs`: what a monitor calls to find out whether the job runs."""

from __future__ import annotations

import json
import sys
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from engagement.formatting import duration_text
from engagement.management.base import SentenceCommand
from engagement.management.options import duration
from engagement.models import RunStatus
from engagement.selectors.job_runs import VANISHED, answered_for
from engagement.services.run_monitor import DEFAULT_MAX_AGE, watch_runs

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from datetime import datetime

    from engagement.models import EngagementJobRun
    from engagement.services.run_monitor import RunWatch, SeenRun


class Command(SentenceCommand):
    help = (
        "Exit with 0 if the last good run of the daily job is fresh enough, else with 1 and the reason."
        " A run is good if it finished, even if some users failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--max-age",
            type=duration,
            default=DEFAULT_MAX_AGE,
            metavar="DURATION",
            help="maximum age of the last good run, such as 90m, 26h (the default) or 2d",
        )
        parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")

    def handle(self, **options: Any) -> None:
        watch = watch_runs(now=timezone.now(), max_age=options["max_age"])
        sentence = _sentence(watch)
        self.write_metrics()
        if options["json"]:
            self.write_result(json.dumps(watch.as_json()))
        elif watch.is_fresh:
            self.write_result(sentence)
        if not watch.is_fresh:
            self.say(sentence)
            sys.exit(1)


_ENDINGS: Final = {
    RunStatus.SUCCEEDED: "succeeded",
    RunStatus.PARTIAL: "finished, but some users failed,",
    RunStatus.FAILED: "failed",
    RunStatus.INTERRUPTED: "was interrupted",
}


def _sentence(watch: RunWatch) -> str:
    """How old the last good run is; if it is too old, also what the runs since then did."""
    of_check = f" of {watch.check.name}" if watch.check else ""
    since = ", ".join(map(_outcome, watch.since)) or "no run was started"
    if watch.last_good is None or watch.age is None:
        return f"There is no good run{of_check}: {since}."
    run = watch.last_good
    good = f"run {run.job_id} as of {_time(answered_for(run))}, {_counts(run)}"
    age = duration_text(watch.age)
    if watch.is_fresh:
        return f"The last good run is {age} old: {good}."
    allowed = duration_text(watch.max_age)
    return f"The last good run{of_check} is {age} old (maximum {allowed}): {good}; since then {since}."


def _outcome(seen: SeenRun) -> str:
    run = seen.run
    started = f"the run of {_time(run.started_at)}"
    if seen.outcome == VANISHED:
        return f"{started} vanished (last seen {_time(run.last_seen_at)} on {run.host or 'an unknown host'})"
    if seen.outcome == RunStatus.RUNNING:
        return f"{started} is still running ({_counts(run)})"
    reason = f" ({run.failure.rstrip('.')})" if run.failure else f" as of {_time(run.now)}, {_counts(run)}"
    return f"{started} {_ENDINGS[RunStatus(seen.outcome)]}{reason}"


def _counts(run: EngagementJobRun) -> str:
    others = ((run.failed, "failed"), (run.still_due or 0, "still due"))
    return ", ".join([f"{run.succeeded:,} moved", *(f"{n:,} {what}" for n, what in others if n)])


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
