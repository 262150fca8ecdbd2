"""What check_engagement_runs says: one sentence for people, one object for programs."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

from engagement.formatting import count_text
from engagement.models import RunStatus
from engagement.selectors.job_runs import VANISHED, answered_for

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from engagement.models import EngagementJobRun
    from engagement.services.run_monitor import RunWatch, SeenRun


HOUR: Final = 3600
UNITS: Final = (("day", 86_400), ("hour", HOUR), ("minute", 60), ("second", 1))
"""What a length of time is told in, and the seconds of each."""


def sentence(watch: RunWatch, *, max_age: timedelta) -> str:
    """How fresh the last good run is; and if it is too old, what the runs since then did."""
    of_check = f" of {watch.check.name}" if watch.check else ""
    if watch.last_good is None or watch.age is None:
        return f"The ledger has no good run{of_check}: {_since(watch)}."
    good = (
        f"run {watch.last_good.job_id} as of {_time(answered_for(watch.last_good))}, {_did(watch.last_good)}"
    )
    age = _length(watch.age)
    if watch.is_fresh:
        return f"The last good run is {age} old: {good}."
    allowed = _length(max_age)
    return f"The last good run{of_check} is {age} old, and {allowed} is allowed: {good}; {_since(watch)}."


def watch_json(watch: RunWatch, *, max_age: timedelta) -> dict[str, object]:
    """The same for programs."""
    return {
        "ok": watch.is_fresh,
        "max_age_seconds": round(max_age.total_seconds()),
        "age_seconds": None if watch.age is None else round(watch.age.total_seconds()),
        "check": watch.check.name if watch.check else None,
        "last_good_run": _run_json(watch.last_good, watch.last_good.status) if watch.last_good else None,
        "runs_since": [_run_json(seen.run, seen.outcome) for seen in watch.since],
    }


def _since(watch: RunWatch) -> str:
    then = "since then " if watch.last_good else ""
    return then + (", ".join(map(_became, watch.since)) or "no run was started")


def _became(seen: SeenRun) -> str:
    run = seen.run
    started = f"the run of {_time(run.started_at)}"
    if seen.outcome == VANISHED:
        return f"{started} vanished (last seen {_time(run.last_seen_at)} on {run.host or 'an unknown host'})"
    if seen.outcome == RunStatus.RUNNING:
        return f"{started} is still running ({_did(run)})"
    reason = f" ({run.failure.rstrip('.')})" if run.failure else f" as of {_time(run.now)}, {_did(run)}"
    return f"{started} {RunStatus(seen.outcome).value}{reason}"


def _did(run: EngagementJobRun) -> str:
    return f"{run.succeeded:,} moved" + (f", {run.failed:,} failed" if run.failed else "")


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _length(length: timedelta) -> str:
    """To the minute, below an hour to the second: what is too old must not read like what is allowed."""
    seconds = max(round(length.total_seconds()), 0)
    units = [(noun, size) for noun, size in UNITS if noun != "second" or seconds < HOUR]
    parts = []
    for noun, size in units:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(count_text(number, noun))
    return ", ".join(parts) or "0 seconds"


def _run_json(run: EngagementJobRun, outcome: str) -> dict[str, object]:
    return {
        "job_id": str(run.job_id),
        "status": outcome,
        "now": run.now.isoformat(),
        "started_at": run.started_at.isoformat(),
        "last_seen_at": run.last_seen_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "processed": run.processed,
        "succeeded": run.succeeded,
        "failed": run.failed,
        "skipped": run.skipped,
        "failure": run.failure,
        "host": run.host,
    }
