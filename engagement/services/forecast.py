"""What the coming runs would do if no user wrote. Read only."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from engagement.conf import engagement_settings
from engagement.schedule import coming_runs
from engagement.selectors import due_users
from engagement.selectors.due_users import DueCounts, Skipped
from engagement.services.resilience.transactions import in_transaction
from engagement.states import CHECK_OF, CHECKS, TARGETS, require_aware, timestamps_on_entering

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from engagement.states import Check, Policy


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What one coming run would do."""

    now: datetime
    checks: Mapping[str, int]
    """By check: how many users it would move."""
    skipped: Skipped

    @property
    def processed(self) -> int:
        return sum(self.checks.values())

    def as_json(self) -> dict[str, object]:
        """The forecast with the keys of a run's result."""
        return {
            "now": self.now.isoformat(),
            "processed": self.processed,
            "skipped": self.skipped.total,
            "skipped_by_reason": self.skipped._asdict(),
            "checks": dict(self.checks),
        }


def forecast(*, now: datetime, days: int) -> list[RunForecast]:
    """Forecast a run at `now` and the scheduled runs after it, `days` in all, if no user writes.

    The first run has the counts of a dry run. A user who moves in one run is counted again in the run
    that moves them next: a goodbye times out at the first run that starts more than its period later.
    Scheduled runs are assumed to start exactly on time. A real run starts a little later, so that a
    user may be due a day earlier than forecast.
    Transaction: opens one, which must be the outermost; one statement, whatever the number of users and
    days. Read only, so repeatable. Raises ValueError for a naive `now` or fewer than one day.
    """
    require_aware(now)
    if days < 1:
        raise ValueError(f"days must be 1 or more, not {days}.")
    settings = engagement_settings()
    runs = coming_runs(now, count=days, run_time=settings.run_time)
    count = partial(due_users.count_due_by_run, runs=runs, policy=settings.policy)
    due_counts = in_transaction(count, lock_timeout=settings.lock_timeout, whole_tables=True)
    return _simulated(due_counts, runs=runs, policy=settings.policy)


def _simulated(
    due_counts: Mapping[tuple[str, int], DueCounts], *, runs: Sequence[datetime], policy: Policy
) -> list[RunForecast]:
    moved = {check.name: [0] * len(runs) for check in CHECKS}
    skipped = Skipped()
    forecasts = []
    for number, now in enumerate(runs):
        for check in CHECKS:
            newly_due = due_counts.get((check.name, number), DueCounts())
            skipped = Skipped.sum_of((skipped, newly_due.skipped))
            moved[check.name][number] += newly_due.due
            next_check, next_number = _next_transition(check, now=now, runs=runs, policy=policy)
            if next_check and next_number < len(runs):
                moved[next_check.name][next_number] += moved[check.name][number]
        forecasts.append(RunForecast(now, {name: counts[number] for name, counts in moved.items()}, skipped))
    return forecasts


def _next_transition(
    check: Check, *, now: datetime, runs: Sequence[datetime], policy: Policy
) -> tuple[Check | None, int]:
    """The check that next moves the users whom `check` moves at `now`, and the number of that run."""
    state = TARGETS[check.trigger]
    next_check = CHECK_OF.get(state)
    if next_check is None:
        return None, len(runs)
    times = cast("Mapping[str, datetime]", timestamps_on_entering(state, now=now, policy=policy))
    due_after = next_check.due_after(times[next_check.due_column], policy=policy)
    return next_check, bisect_right(runs, due_after)
