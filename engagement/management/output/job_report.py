"""The result of a run, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement.management.output.terminal import as_text, failure_lines, new_table
from engagement.models import RunStatus
from engagement.states import CHECKS, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engagement.services.job.result import RunResult

WHAT_HAPPENED: Final = {
    Trigger.INACTIVITY_14D: "told goodbye (message queued)",
    Trigger.GOODBYE_TIMEOUT: "now dormant (nothing sent)",
    Trigger.REMINDER_DUE: "now dormant (nothing sent)",
}

HEADLINES: Final = {
    RunStatus.SUCCEEDED: "Succeeded",
    RunStatus.PARTIAL: "Finished, but some users failed and were left as they were",
    RunStatus.FAILED: "Failed",
    RunStatus.INTERRUPTED: "Interrupted: what was committed stays, and the next run goes on from here",
}


def report(result: RunResult) -> str:
    """A table of what each check did, who was left alone and why, and the first errors."""
    return as_text(_table(result), _lines(result))


def _table(result: RunResult) -> Table:
    title = f"Engagement run as of {result.now:%Y-%m-%d %H:%M:%S} UTC"
    table = new_table(f"{title} (dry run: nothing was written)" if result.dry_run else title)
    table.add_column("check", no_wrap=True)
    for heading in ("would move" if result.dry_run else "moved", "failed", "skipped"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what became of them")
    for check in CHECKS:
        if tally := result.checks.get(check.name):
            counts = (tally.succeeded, tally.failed, tally.skipped.total)
            table.add_row(check.name, *(f"{count:,}" for count in counts), WHAT_HAPPENED[check.trigger])
    return table


def _lines(result: RunResult) -> Iterator[str]:
    if result.skipped.total:
        yield (
            f"Skipped, though silent too long: {result.skipped.opted_out:,} opted out,"
            f" {result.skipped.no_destination:,} without an address."
        )
    if result.still_due:
        yield f"Still due after this run: {result.still_due:,}."
    yield from failure_lines(result.errors, total=result.failed)
    yield f"{HEADLINES[result.status]}, in {result.duration_ms / 1000:.1f} s. Run {result.job_id}."
