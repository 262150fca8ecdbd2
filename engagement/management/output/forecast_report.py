"""What the coming runs would do, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.formatting import count_text
from engagement.management.output.terminal import as_text, new_table
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from engagement.services.forecast import RunForecast


def forecast_report(runs: Sequence[RunForecast]) -> str:
    """A table with a line for each run, and what it rests on."""
    return as_text(_table(runs), _lines(runs))


def _table(runs: Sequence[RunForecast]) -> Table:
    table = new_table(f"Who would be moved from {runs[0].now:%Y-%m-%d %H:%M} UTC on, if nobody wrote in")
    table.add_column("run (UTC)", no_wrap=True)
    for heading in (*(check.name for check in CHECKS), "skipped"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        counts = (*run.checks.values(), run.skipped.total)
        table.add_row(f"{run.now:%a %Y-%m-%d %H:%M}", *(f"{count:,}" for count in counts))
    return table


def _lines(runs: Sequence[RunForecast]) -> Iterator[str]:
    yield f"Together: {count_text(sum(run.processed for run in runs), 'move')}."
    yield "Skipped: who has been silent for too long, but opted out or has no address; anew at each run."
