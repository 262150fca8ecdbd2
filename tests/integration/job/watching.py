"""Somebody who watches a run."""

from __future__ import annotations


class Watcher:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.done: list[int] = []

    def started(self, *, due: int) -> None:
        self.due.append(due)

    def users_done(self, count: int) -> None:
        self.done.append(count)

    @property
    def batches(self) -> list[int]:
        """With how many users the run was done at once."""
        return [count for count in self.done if count]
