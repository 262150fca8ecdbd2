"""Tables and sentences as one text, for a terminal or for a file."""

from __future__ import annotations

import sys
from io import StringIO
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.table import Table

    from engagement.services.job.result import UserFailure

ERRORS_SHOWN: Final = 10
WIDTH_OFF_A_TERMINAL: Final = 100


def new_table(title: str) -> Table:
    """A table without columns, whose lines the encoding of stdout can write."""
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
    """The first of those who could not be moved, and how many more there are."""
    for failure in failures[:ERRORS_SHOWN]:
        yield f"Failed: user {failure.user_id}, {failure.check_name}: {failure.error}"
    if total > ERRORS_SHOWN:
        yield f"... and {total - ERRORS_SHOWN:,} more; the log has them all."


def _writes_lines() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().startswith("utf")
