"""How far a run has come: one counter, and listeners that follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engagement.services.job.result import MAX_ERRORS, CheckCounts, UserFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.services.job.request import RunRequest
    from engagement.services.job.result import RunResult
    from engagement.states import Check


class RunListener:
    """Follows a run. Each method does nothing unless a subclass says otherwise.

    A listener must not raise, and is never called inside a batch's transaction.
    """

    wants_due_count = False
    """Whether the run should count who is due before it moves anyone, for `due_counted`."""

    def run_started(self, progress: RunProgress) -> None: ...

    def due_counted(self, users: int) -> None: ...

    def users_done(self, users: int) -> None: ...

    def still_working(self, progress: RunProgress) -> None: ...

    def check_ended(self, progress: RunProgress) -> None: ...

    def run_ended(self, progress: RunProgress, result: RunResult) -> None: ...


class RunProgress:
    """Counts what a run does, in this process and in its workers, and tells the listeners."""

    def __init__(self, request: RunRequest, *, listeners: Sequence[RunListener] = ()) -> None:
        self.checks = {check.name: CheckCounts() for check in request.checks_in_order}
        self.failures: list[UserFailure] = []
        self.listeners = listeners

    @property
    def total(self) -> CheckCounts:
        return CheckCounts.sum_of(self.checks)

    def moved(self, check: Check, users: int) -> None:
        self.checks[check.name].succeeded += users
        self._users_done(users)

    def has_moved(self, check: Check) -> bool:
        """Whether anybody has been moved by the check."""
        return self.checks[check.name].succeeded > 0

    def failed(self, failure: UserFailure) -> None:
        self.checks[failure.check_name].failed += 1
        if len(self.failures) < MAX_ERRORS:
            self.failures.append(failure)
        self._users_done(1)

    def check_ended(self) -> None:
        """A worker has come to the end of a check; others may still be at work on it."""
        for listener in self.listeners:
            listener.check_ended(self)

    def still_working(self) -> None:
        for listener in self.listeners:
            listener.still_working(self)

    def _users_done(self, users: int) -> None:
        for listener in self.listeners:
            listener.users_done(users)
        self.still_working()
