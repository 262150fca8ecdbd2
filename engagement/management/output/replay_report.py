"""The result of a replay as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.formatting import count_text
from engagement.management.output.terminal import as_text, new_table
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engagement.replay.comparison import Comparison, PolicyResult, ReplayResult


def report(result: ReplayResult, *, name: str) -> str:
    """A table with a column for each policy, and lines about the log and the replay."""
    return as_text(_table(result), _lines(result, name))


def _table(result: ReplayResult) -> Table:
    table = new_table(f"Replay from {result.period.first_date} to {result.period.last_date}")
    table.add_column("goodbye after", overflow="fold")
    for policy in result.policies:
        table.add_column(count_text(policy.inactivity_days, "day"), justify="right")
    for group in zip(*map(_groups, result.policies), strict=True):
        for rows in zip(*group, strict=True):
            table.add_row(rows[0][0], *(value for _, value in rows))
        table.add_section()
    return table


def _groups(policy: PolicyResult) -> Iterator[list[tuple[str, str]]]:
    """The rows of one policy, in groups: labels and values."""
    goodbyes, totals, states = policy.comparison, policy.totals, policy.days[-1].states
    yield [
        ("goodbyes sent", f"{goodbyes.goodbyes:,}"),
        ("  wrong: back in a week", f"{goodbyes.wrong_goodbyes:,}"),
        ("  wrong ones in %", _percentage_wrong(goodbyes)),
        ("  came back later", f"{goodbyes.came_back_later:,}"),
        ("  answered", f"{goodbyes.answered:,}"),
        ("  never came back", f"{goodbyes.never_came_back:,}"),
        ("    days waited, mean", _days(goodbyes.days_waited_mean)),
        ("    days waited, median", _days(goodbyes.days_waited_median)),
    ]
    yield [
        ("goodbyes timed out", f"{totals.goodbye_timeouts:,}"),
        ("reminders due", f"{totals.reminders_due:,}"),
        ("returns", f"{totals.returns:,}"),
    ]
    yield [(f"{state.value} at the end", f"{states.get(state, 0):,}") for state in State]


def _percentage_wrong(goodbyes: Comparison) -> str:
    return f"{100 * goodbyes.wrong_goodbyes / goodbyes.goodbyes:.1f}" if goodbyes.goodbyes else "-"


def _days(days: float | None) -> str:
    return "-" if days is None else f"{days:.1f}"


def _lines(result: ReplayResult, name: str) -> Iterator[str]:
    yield f"{name}: {count_text(result.events, 'event')} of {count_text(result.users, 'user')}."
    if result.unreachable:
        yield f"No goodbye is possible without a whatsapp_jid: {count_text(result.unreachable, 'user')}."
    if result.history_events:
        yield f"Before the first day, played without runs: {count_text(result.history_events, 'event')}."
    if result.ignored_columns:
        yield f"Columns that were not read: {', '.join(map(repr, result.ignored_columns))}."
    seconds = result.duration.total_seconds()
    days = result.period.days * len(result.policies)
    events = result.events * len(result.policies)
    yield (
        f"Played {count_text(days, 'day')} and {count_text(events, 'event')} in {seconds:.1f} s:"
        f" {days / seconds:,.0f} days or {events / seconds:,.0f} events per second."
    )
