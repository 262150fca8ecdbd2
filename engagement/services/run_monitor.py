"""Whether the daily job runs as it should. Read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engagement.schedule import iso_text
from engagement.selectors.job_runs import answered_for, last_good_runs, latest_runs, status_of_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from engagement.models import EngagementJobRun
    from engagement.states import Check

DEFAULT_MAX_AGE: Final = timedelta(hours=26)
"""How old the last good run may be: one day, plus two hours for a late run."""
RUNS_LISTED: Final = 3


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run and its status now."""

    run: EngagementJobRun
    outcome: str
    """Its status, or `vanished`."""

    def as_json(self) -> dict[str, object]:
        """The run with the keys that docs/reference.md lists."""
        run = self.run
        return {
            "job_id": str(run.job_id),
            "status": self.outcome,
            "now": run.now.isoformat(),
            "started_at": run.started_at.isoformat(),
            "last_seen_at": run.last_seen_at.isoformat(),
            "finished_at": iso_text(run.finished_at),
            "processed": run.processed,
            "succeeded": run.succeeded,
            "failed": run.failed,
            "skipped": run.skipped,
            "still_due": run.still_due,
            "failure": run.failure,
            "host": run.host,
        }


@dataclass(frozen=True, slots=True)
class RunWatch:
    """How old the last good run is, and what has happened since."""

    last_good: EngagementJobRun | None
    """The last good run. If runs make different checks: that of the check whose last good run is oldest."""
    check: Check | None
    """That check, if other checks had a later good run."""
    age: timedelta | None
    """The time since the instant as of which that run made its checks."""
    max_age: timedelta
    since: Sequence[SeenRun]
    """Runs that started later, the latest first, at most RUNS_LISTED."""

    @property
    def is_fresh(self) -> bool:
        return self.age is not None and self.age <= self.max_age

    def as_json(self) -> dict[str, object]:
        """The answer with the keys that docs/reference.md lists."""
        good = self.last_good
        return {
            "ok": self.is_fresh,
            "max_age_seconds": round(self.max_age.total_seconds()),
            "age_seconds": None if self.age is None else round(self.age.total_seconds()),
            "check": self.check.name if self.check else None,
            "last_good_run": SeenRun(good, good.status).as_json() if good else None,
            "runs_since": [seen.as_json() for seen in self.since],
        }


def watch_runs(*, now: datetime, max_age: timedelta) -> RunWatch:
    """Find the last good run: one that succeeded, or in which only some users failed.

    Each check needs a good run, because `--check` limits a run to some checks. Dry runs do not count.
    Transaction: none needed. Read only, so repeatable.
    """
    last_runs = last_good_runs(now=now)
    check, good = min(last_runs.items(), key=_answered_for)
    later = latest_runs()
    if good:
        later = later.filter(started_at__gt=good.started_at)
    return RunWatch(
        last_good=good,
        check=None if all(run == good for run in last_runs.values()) else check,
        age=now - answered_for(good) if good else None,
        max_age=max_age,
        since=[SeenRun(run, status_of_run(run, now=now)) for run in later[:RUNS_LISTED]],
    )


def age_of_good_run(*, now: datetime) -> timedelta | None:
    """The time since the instant as of which each check had a good run; None if one of them had none.

    Transaction: none needed. Read only, so repeatable. One statement.
    """
    _, good = min(last_good_runs(now=now).items(), key=_answered_for)
    return now - answered_for(good) if good else None


def _answered_for(last_run: tuple[Check, EngagementJobRun | None]) -> tuple[bool, datetime | None]:
    """Sorts a check without a good run first."""
    run = last_run[1]
    return (False, None) if run is None else (True, answered_for(run))
