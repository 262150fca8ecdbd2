"""A listener for tests."""

from __future__ import annotations

from engagement.services.job.progress import RunListener


class Watcher(RunListener):
    """Remembers what it was told."""

    wants_due_count = True

    def __init__(self) -> None:
        self.due: list[int] = []
        self.done: list[int] = []

    def due_counted(self, users: int) -> None:
        self.due.append(users)

    def users_done(self, users: int) -> None:
        self.done.append(users)

    @property
    def batches(self) -> list[int]:
        """The number of users in each batch."""
        return [users for users in self.done if users]
