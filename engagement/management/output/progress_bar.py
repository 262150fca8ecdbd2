"""A progress bar for whoever watches at a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engagement.services.job.progress import RunListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress


class ProgressBar(RunListener):
    """Shows how much of what was due at the start is done: users of a run, days of a replay."""

    def __init__(self, bar: RichProgress, description: str) -> None:
        self._bar = bar
        self._task = bar.add_task(description, total=None)

    wants_due_count = True

    def due_counted(self, users: int) -> None:
        self.started(due=users)

    def started(self, *, due: int) -> None:
        self._bar.update(self._task, total=due, refresh=True)

    def users_done(self, users: int) -> None:
        self._bar.update(self._task, advance=users, refresh=True)

    def day_done(self) -> None:
        self._bar.update(self._task, advance=1, refresh=True)


@contextmanager
def progress_bar(*, shown: bool, description: str = "engagement") -> Iterator[ProgressBar | None]:
    """A bar on stderr that is gone when the work is done; None where nobody could see it."""
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield None
        return
    # Imported here: cron need not wait for what it never sees.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without a thread that refreshes the bar: workers are forked, and threads do not survive that.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        yield ProgressBar(bar, description)
