"""A progress bar for whoever watches at a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as RichProgress

    from engagement.states import Check


class ProgressBar:
    """Shows each check as a bar of its own."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def check_started(self, check: Check, *, due: int) -> None:
        self._bar.update(self._task, description=check.name, total=due, completed=0)

    def users_done(self, count: int) -> None:
        self._bar.advance(self._task, count)


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[ProgressBar | None]:
    """A bar on stderr that is gone when the work is done; None where nobody could see it."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    # Imported here: cron need not wait for what it never sees.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield ProgressBar(bar)
