"""The result of the sender as a table."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.delivery_wording import until_text
from engagement.formatting import duration_text
from engagement.management.output.terminal import ERRORS_SHOWN, as_text, new_table
from engagement.services.delivery.result import SendStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from engagement.services.delivery.result import SendResult

_ROWS: Final = {
    "sent": "accepted by the backend",
    "failed": "will not be sent",
    "unknown": "perhaps sent; a receipt or a person resolves it",
    "cancelled": "no longer wanted",
    "waiting": "will be tried later",
    "not tried": "left to the next sender, or taken by another",
}
_PREVIEWED: Final = {
    "sent": ("would be sent", "as far as can be known before"),
    "cancelled": ("would be cancelled", "no longer wanted"),
    "not tried": ("not looked at", "the dry run ended before them"),
}
_ENDINGS: Final = {
    SendStatus.SUCCEEDED: "Done",
    SendStatus.PARTIAL: "Finished; some messages failed or have an unknown outcome",
    SendStatus.PAUSED: "Paused",
    SendStatus.FAILED: "Stopped before the end",
    SendStatus.INTERRUPTED: "Interrupted",
}


def send_report(result: SendResult) -> str:
    """How many messages ended how, the first errors, and what the operator should know."""
    return as_text(_table(result), _lines(result))


def _table(result: SendResult) -> Table:
    title = f"Sending by {result.backend} as of {result.now:%Y-%m-%d %H:%M:%S} UTC"
    table = new_table(f"{title} (dry run: nothing was sent)" if result.dry_run else title)
    table.add_column("messages", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("meaning")
    table.add_row("due", f"{result.due:,}", "at the start")
    numbers = result.numbers()
    if (left := result.due - sum(numbers.values())) > 0:
        numbers["not tried"] = left
    previewed = _PREVIEWED if result.dry_run else {}
    for name, number in numbers.items():
        label, meaning = previewed.get(name, (name, _ROWS[name]))
        table.add_row(label, f"{number:,}", meaning)
    return table


def _lines(result: SendResult) -> Iterator[str]:
    errors = result.counts.errors
    for error in errors[:ERRORS_SHOWN]:
        yield f"{error.status.capitalize()}: message {error.message_id}: {error.reason}"
    if result.counts.failed + result.counts.unknown > len(errors[:ERRORS_SHOWN]):
        yield "... and more; the log lists all of them."
    if refusals := result.counts.refusals:
        ((refusal, number),) = refusals.most_common(1)
        often = f", {number:,} of {refusals.total():,} times" if refusals.total() > number else ""
        yield f"Refused, and to be tried again: {refusal}{often}."
    if result.paused_until:
        yield f"Paused {until_text(result.paused_until)}: {result.pause_reason}."
    if result.hint:
        yield result.hint
    yield f"{_ENDINGS[result.status]}, in {duration_text(timedelta(milliseconds=result.duration_ms))}."
