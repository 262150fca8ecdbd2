"""The result of a run as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.management.output.terminal import as_text, failure_lines, new_table, outcome_line
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engagement.services.job.result import RunResult


def job_report(result: RunResult) -> str:
    """What each check did, the users it skipped, the first failures, and the outcome."""
    return as_text(_table(result), _lines(result))


def _table(result: RunResult) -> Table:
    title = f"Engagement run as of {result.now:%Y-%m-%d %H:%M:%S} UTC"
    table = new_table(f"{title} (dry run: nothing was written)" if result.dry_run else title)
    table.add_column("check", no_wrap=True)
    for heading in ("would move" if result.dry_run else "moved", "failed", "skipped"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("result")
    for check in CHECKS:
        if counts := result.checks.get(check.name):
            numbers = (counts.succeeded, counts.failed, counts.skipped.total)
            outcome = "goodbye queued" if check.sends_goodbye else "dormant, nothing sent"
            table.add_row(check.name, *(f"{number:,}" for number in numbers), outcome)
    return table


def _lines(result: RunResult) -> Iterator[str]:
    if result.skipped.total:
        opted_out, no_address = result.skipped
        yield f"Skipped: {opted_out:,} opted out, {no_address:,} without an address."
    if result.still_due:
        yield f"Still due after this run: {result.still_due:,}."
    yield from failure_lines(result.errors, total=result.failed)
    yield f"{outcome_line(result.status, duration_ms=result.duration_ms)} Run {result.job_id}."
