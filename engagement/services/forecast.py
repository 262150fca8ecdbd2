"""What the coming runs would do if nobody wrote in."""

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
        """The forecast in the words of a run's own result."""
        return {
            "now": self.now.isoformat(),
            "processed": self.processed,
            "skipped": self.skipped.total,
            "skipped_by_reason": self.skipped._asdict(),
            "checks": dict(self.checks),
        }


def forecast(*, now: datetime, days: int) -> list[RunForecast]:
    """A run at `now` and the scheduled ones behind it, `days` in all, if nobody wrote in.

    The first says what a dry run says. Whoever a run moves is followed: a goodbye of today times
    out at the first run that starts more than its period later. A scheduled run is taken to start
    on the second, so that of a real one, which starts a little later, a user may fall due a day
    earlier.
    Transaction: opens one, which must be the outermost, and only reads; one statement, whatever
    the number of users and days. Raises ValueError for a naive `now` or less than one day.
    """
    require_aware(now)
    if days < 1:
        raise ValueError(f"days must be 1 or more, not {days}.")
    settings = engagement_settings()
    runs = coming_runs(now, count=days)
    count = partial(due_users.count_due_by_run, runs=runs, policy=settings.policy)
    due_counts = in_transaction(count, lock_timeout=settings.lock_timeout, whole_tables=True)
    return _played(due_counts, runs=runs, policy=settings.policy)


def _played(
    due_counts: Mapping[tuple[str, int], DueCounts], *, runs: Sequence[datetime], policy: Policy
) -> list[RunForecast]:
    moves = {check.name: [0] * len(runs) for check in CHECKS}
    skipped = Skipped()
    forecasts = []
    for number, now in enumerate(runs):
        for check in CHECKS:
            wave = due_counts.get((check.name, number), DueCounts())
            skipped = Skipped.sum_of((skipped, wave.skipped))
            moves[check.name][number] += wave.due
            following, then = _next_move(check, now=now, runs=runs, policy=policy)
            if following and then < len(runs):
                moves[following.name][then] += moves[check.name][number]
        forecasts.append(RunForecast(now, {name: counts[number] for name, counts in moves.items()}, skipped))
    return forecasts


def _next_move(
    check: Check, *, now: datetime, runs: Sequence[datetime], policy: Policy
) -> tuple[Check | None, int]:
    """Which check takes those whom `check` moves at `now`, and the number of the run."""
    state = TARGETS[check.trigger]
    following = CHECK_OF.get(state)
    if following is None:
        return None, len(runs)
    times = cast("Mapping[str, datetime]", timestamps_on_entering(state, now=now, policy=policy))
    due_after = following.due_after(times[following.due_column], policy=policy)
    return following, bisect_right(runs, due_after)
