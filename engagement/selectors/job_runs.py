"""Reads the run ledger. Read only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db.models import Count, OuterRef, Q, Subquery, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Least

from engagement.models import GOOD, EngagementJobRun, EngagementStateTransition, RunStatus
from engagement.states import CHECKS, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet

    from engagement.states import Check

VANISHED_AFTER: Final = timedelta(minutes=5)
"""A run updates `last_seen_at` every few seconds. Without an update for this long it counts as vanished."""
VANISHED: Final = "vanished"
AHEAD: Final = timedelta(hours=1)
"""A run as of a later time had a clock that was ahead."""


def status_of_run(run: EngagementJobRun, *, now: datetime) -> str:
    """The run's status, or `vanished` if it is `running` but has not been seen for VANISHED_AFTER.

    `vanished` is never stored: a run that only lost its database connection may come back.
    """
    if run.status == RunStatus.RUNNING and now - run.last_seen_at > VANISHED_AFTER:
        return VANISHED
    return run.status


def duration_of(run: EngagementJobRun, *, now: datetime) -> timedelta:
    """How long the run took, or for how long it has been seen at work."""
    end = run.finished_at or (now if status_of_run(run, now=now) == RunStatus.RUNNING else run.last_seen_at)
    return max(end - run.started_at, timedelta(0))


def runs_with_status(outcomes: Collection[str], *, now: datetime) -> Q:
    """The runs for which `status_of_run` returns one of these."""
    running = Q(status=RunStatus.RUNNING)
    vanished = running & Q(last_seen_at__lt=now - VANISHED_AFTER)
    conditions = Q(status__in=set(outcomes) - {RunStatus.RUNNING.value})
    if RunStatus.RUNNING in outcomes:
        conditions |= running & ~vanished
    return conditions | vanished if VANISHED in outcomes else conditions


def answered_for(run: EngagementJobRun) -> datetime:
    """The instant as of which a finished run moved every due user.

    That is its `now`: a run as of last week says nothing about today. A `now` in the future counts
    only up to the time at which the run finished.
    """
    return min(run.now, run.finished_at or run.now)


def good_runs(check: Check, *, now: datetime) -> QuerySet[EngagementJobRun]:
    """The good runs that made this check, the latest `answered_for` first.

    A run that moved nobody although users were due, because they all failed or were locked, is not good.
    A run of a clock that was ahead says nothing about today: it does not count before its time.
    """
    counts = f"checks__{check.name}"
    has_moved = Q(succeeded__gt=0) | Q(still_due__isnull=True) | Q(still_due=0)
    not_all_failed = Q(status=RunStatus.SUCCEEDED) | Q(**{f"{counts}__succeeded__gt": 0})
    # Rows of another program may lack these counts.
    not_all_failed |= ~Q(**{f"checks__{check.name}__has_key": "failed"}) | Q(**{f"{counts}__failed": 0})
    runs = EngagementJobRun.objects.filter(status__in=GOOD, checks__has_key=check.name)
    runs = runs.alias(answered=Least("now", "finished_at")).filter(answered__lte=now + AHEAD)
    return runs.filter(has_moved, not_all_failed).order_by(Least("now", "finished_at").desc())


def latest_run_with(check: Check, *, now: datetime) -> EngagementJobRun | None:
    """The latest run that has ended, well or not, and made this check."""
    return latest_ended(now=now).filter(checks__has_key=check.name).first()


def last_good_runs(*, now: datetime) -> dict[Check, EngagementJobRun | None]:
    """By check: the last good run that made it, in one statement."""
    runs = [good_runs(check, now=now).annotate(check_name=Value(check.name))[:1] for check in CHECKS]
    found = {run.check_name: run for run in runs[0].union(*runs[1:], all=True)}
    return {check: found.get(check.name) for check in CHECKS}


def latest_runs() -> QuerySet[EngagementJobRun]:
    """All runs, the latest first."""
    return EngagementJobRun.objects.order_by("-started_at", "-job_id")


def latest_ended(*, now: datetime) -> QuerySet[EngagementJobRun]:
    """The runs that have ended, well or not, the latest first. Not those of a clock that was ahead."""
    return latest_runs().filter(finished_at__isnull=False, started_at__lte=now + AHEAD)


def goodbyes_of_good_runs(*, count: int) -> list[int]:
    """How many goodbyes each of the last good runs sent that made the check for them."""
    names = [check.name for check in CHECKS if check.sends_goodbye]
    runs = latest_runs().filter(status__in=GOOD, checks__has_any_keys=names)[:count]
    every = runs.values_list("checks", flat=True)
    # Another program may have written a row without these counts.
    return [sum(checks.get(name, {}).get("succeeded", 0) for name in names) for checks in every]


def with_undone(runs: QuerySet[EngagementJobRun]) -> QuerySet[EngagementJobRun]:
    """The runs, each with `undone`: how many of its transitions were undone."""
    undoing = EngagementStateTransition.objects.filter(trigger=Trigger.RUN_UNDONE)
    of_run = undoing.annotate(run=KT("metadata__undone_job_id")).filter(run=Cast(OuterRef("pk"), TextField()))
    count = of_run.order_by().values("run").annotate(number=Count("pk")).values("number")
    return runs.annotate(undone=Coalesce(Subquery(count), 0))
