"""Whether runs happen as they should: what a monitor asks every morning. Nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engagement.selectors.job_runs import answered_for, good_runs, latest_runs, status_of_run
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from engagement.models import EngagementJobRun
    from engagement.states import Check

RUNS_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run, and how it stands now."""

    run: EngagementJobRun
    outcome: str
    """Its status, or `vanished`."""


@dataclass(frozen=True, slots=True)
class RunWatch:
    """How fresh the last good run is, and what happened since."""

    last_good: EngagementJobRun | None
    """The last good run; of the check that has waited longest, where runs ask different ones."""
    check: Check | None
    """That check, if others have had a fresher run."""
    age: timedelta | None
    """How long ago the instant is up to which that run settled who is due."""
    is_fresh: bool
    since: Sequence[SeenRun]
    """The runs that were started later, the latest first, RUNS_NAMED at the most."""


def watch_runs(*, now: datetime, max_age: timedelta) -> RunWatch:
    """Look for the last good run: one that succeeded, or in which at the most some users failed.

    A check that only some runs ask (`--check`) must have had a good run of its own. Dry runs are
    not in the ledger.
    Transaction: needs none. Only reads.
    """
    asked = [(check, good_runs(check).first()) for check in CHECKS]
    check, good = min(asked, key=_answered_for)
    later = latest_runs()
    if good:
        later = later.filter(started_at__gt=good.started_at)
    age = now - answered_for(good) if good else None
    return RunWatch(
        last_good=good,
        check=None if all(run == good for _, run in asked) else check,
        age=age,
        is_fresh=age is not None and age <= max_age,
        since=[SeenRun(run, status_of_run(run, now=now)) for run in later[:RUNS_NAMED]],
    )


def _answered_for(asked: tuple[Check, EngagementJobRun | None]) -> tuple[bool, datetime | None]:
    """Sorts a check without any good run first."""
    run = asked[1]
    return (False, None) if run is None else (True, answered_for(run))
