"""What an undo did, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement.formatting import count_text
from engagement.management.output.terminal import failure_lines
from engagement.models import RunStatus
from engagement.services.undo.undo_result import NotUndoneReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.services.undo.undo_result import UndoResult


REASONS: Final = {
    NotUndoneReason.ALREADY_UNDONE: "undone before",
    NotUndoneReason.MOVED_ON: "something has happened to them since",
    NotUndoneReason.GOODBYE_SENT: "their goodbye has been sent",
    NotUndoneReason.GOODBYE_FAILED: "their goodbye was tried, and failed",
    NotUndoneReason.IN_USE: "locked by another program; run the command again",
    NotUndoneReason.DELETED: "deleted since",
}

HEADLINES: Final = {
    RunStatus.SUCCEEDED: "Succeeded",
    RunStatus.PARTIAL: "Finished, but some users failed and were left as they were",
    RunStatus.FAILED: "Failed",
    RunStatus.INTERRUPTED: "Interrupted: what was committed stays; run the command again for the rest",
}


def undo_report(result: UndoResult) -> str:
    """How many went back, who was left alone and why, and the first errors."""
    return "\n".join(_lines(result))


def _lines(result: UndoResult) -> Iterator[str]:
    would = "would be" if result.dry_run else "are"
    yield (
        f"{count_text(result.counts.undone, 'user')} {would} back where they were before run {result.job_id};"
        f" {count_text(result.counts.messages_cancelled, 'unsent goodbye')} {would} cancelled."
    )
    for reason, sentence in REASONS.items():
        if count := result.counts.not_undone.get(reason):
            yield f"Left alone: {count:,}, {sentence}."
    yield from failure_lines(result.counts.errors, total=result.counts.failed)
    dry_run = " (dry run: nothing was written)" if result.dry_run else ""
    yield f"{HEADLINES[result.status]}{dry_run}, in {result.duration_ms / 1000:.1f} s."
