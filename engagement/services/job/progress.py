"""What a run has done so far, whoever did it: this process or its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from engagement.services.job.result import MAX_ERRORS, CheckCounts, UserFailure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engagement.states import Check


class Progress(Protocol):
    """Somebody who watches a run."""

    def started(self, *, due: int) -> None: ...

    def users_done(self, count: int) -> None: ...


class Keeper(Protocol):
    """Somebody who writes down how far a run has come. Never called inside a batch's transaction."""

    def still_working(self, scoreboard: Scoreboard) -> None: ...

    def check_ended(self, scoreboard: Scoreboard) -> None: ...


class Reporter(Protocol):
    """Where whoever moves users says what became of them."""

    def moved(self, check: Check, count: int) -> None: ...

    def failed(self, failure: UserFailure) -> None: ...

    def check_ended(self, check: Check) -> None: ...


class Scoreboard:
    """Keeps count, and shows it to whoever watches and whoever writes it down."""

    def __init__(
        self, checks: Iterable[Check], *, progress: Progress | None = None, keeper: Keeper | None = None
    ) -> None:
        self.tallies = {check.name: CheckCounts() for check in checks}
        self.failures: list[UserFailure] = []
        self._progress = progress
        self._keeper = keeper

    @property
    def has_failures(self) -> bool:
        return any(tally.failed for tally in self.tallies.values())

    def moved(self, check: Check, count: int) -> None:
        self.tallies[check.name].succeeded += count
        self._show(count)

    def failed(self, failure: UserFailure) -> None:
        self.tallies[failure.check_name].failed += 1
        if len(self.failures) < MAX_ERRORS:
            self.failures.append(failure)
        self._show(1)

    def check_ended(self, check: Check) -> None:  # noqa: ARG002  the interface of a Reporter
        if self._keeper:
            self._keeper.check_ended(self)

    def still_working(self) -> None:
        """Nothing is new, but the run goes on."""
        if self._keeper:
            self._keeper.still_working(self)

    def _show(self, count: int) -> None:
        if self._progress:
            self._progress.users_done(count)
        self.still_working()
