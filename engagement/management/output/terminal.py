"""What several commands print: tables, lines about failures and the outcome, the progress bar."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Final

from engagement.formatting import duration_text
from engagement.models import RunStatus
from engagement.services.job.progress import RunListener

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.progress import Progress as RichProgress
    from rich.table import Table

    from engagement.services.job.result import UserFailure

ERRORS_SHOWN: Final = 10
WIDTH_OFF_A_TERMINAL: Final = 100

OUTCOMES: Final = {
    RunStatus.SUCCEEDED: "Succeeded",
    RunStatus.PARTIAL: "Finished, but some users failed and are unchanged",
    RunStatus.FAILED: "Failed",
    RunStatus.INTERRUPTED: "Interrupted: finished batches are committed, repeat the command to continue",
}


def new_table(title: str) -> Table:
    """A table without columns, in the characters that stdout can write."""
    from rich import box
    from rich.table import Table

    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if _writes_lines() else box.ASCII2,
    )


def as_text(table: Table, lines: Iterable[str]) -> str:
    """The table, and the lines below it."""
    from rich.console import Console

    text = StringIO()
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(
        file=text, force_terminal=on_terminal, width=None if on_terminal else WIDTH_OFF_A_TERMINAL
    )
    console.print(table)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def failure_lines(failures: Sequence[UserFailure], *, total: int) -> Iterator[str]:
    """The first failures, and how many more there are."""
    for failure in failures[:ERRORS_SHOWN]:
        yield f"Failed: user {failure.user_id}, {failure.check_name}: {failure.error}"
    if total > ERRORS_SHOWN:
        yield f"... and {total - ERRORS_SHOWN:,} more; the log lists all of them."


def outcome_line(status: RunStatus, *, duration_ms: int) -> str:
    """How a run ended, and how long it took."""
    return f"{OUTCOMES[status]}, in {duration_text(timedelta(milliseconds=duration_ms))}."


class ProgressBar(RunListener):
    """Shows how many of the users who were due at the start of a run, or days of a replay, are done."""

    def __init__(self, bar: RichProgress, description: str) -> None:
        self._bar = bar
        self._task = bar.add_task(description, total=None)

    wants_due_count = True

    def due_counted(self, users: int) -> None:
        self._bar.update(self._task, total=users, refresh=True)

    def users_done(self, users: int) -> None:
        self._bar.update(self._task, advance=users, refresh=True)


@contextmanager
def progress_bar(*, shown: bool, description: str = "engagement") -> Iterator[ProgressBar | None]:
    """A bar on stderr that disappears at the end; None if it is not shown or stderr is not a terminal."""
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield None
        return
    # Imported only where it is used: it takes long.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The run itself says when there is something new to show.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        yield ProgressBar(bar, description)


def _writes_lines() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().startswith("utf")
