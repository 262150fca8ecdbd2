"""What the ledger knows of former runs. Nothing here writes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

from django.db.models import Q
from django.db.models.functions import Least

from engagement.models import GOOD, EngagementJobRun, RunStatus
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet

    from engagement.states import Check

VANISHED_AFTER: Final = timedelta(minutes=5)
"""A run that works is seen every few seconds; one that is not has been killed, or its host has."""
VANISHED: Final = "vanished"


def status_of_run(run: EngagementJobRun, *, now: datetime) -> str:
    """How the run stands: its status, or `vanished` if it stopped working without a word.

    Not a status of its own, since nobody is there to store it, and a run that was cut off from the
    database for a while comes back.
    """
    # A page reads a time that no calendar has as None.
    seen_at = cast("datetime | None", run.last_seen_at)
    if run.status == RunStatus.RUNNING and seen_at is not None and now - seen_at > VANISHED_AFTER:
        return VANISHED
    return run.status


def runs_with_status(outcomes: Collection[str], *, now: datetime) -> Q:
    """Those of which `outcome_of` gives one of these."""
    works = Q(status=RunStatus.RUNNING)
    vanished = works & Q(last_seen_at__lt=now - VANISHED_AFTER)
    conditions = Q(status__in=set(outcomes) - {RunStatus.RUNNING.value})
    if RunStatus.RUNNING in outcomes:
        conditions |= works & ~vanished
    return conditions | vanished if VANISHED in outcomes else conditions


def answered_for(run: EngagementJobRun) -> datetime:
    """The instant up to which a finished run has settled who is due.

    That is its `now`: a run as of last week says nothing about today. A `--now` in the future
    does not count for more than the time at which the run happened.
    """
    return min(run.now, run.finished_at or run.now)


def good_runs(check: Check) -> QuerySet[EngagementJobRun]:
    """The good runs that have asked this check, those for the latest instant first."""
    runs = EngagementJobRun.objects.filter(status__in=GOOD, checks__has_key=check.name)
    return runs.order_by(Least("now", "finished_at").desc())


def latest_runs() -> QuerySet[EngagementJobRun]:
    """All runs, the latest first."""
    return EngagementJobRun.objects.order_by("-started_at", "-job_id")


def goodbyes_of_good_runs(*, count: int) -> list[int]:
    """How many goodbyes each of the last good runs said that asked for them."""
    names = [check.name for check in CHECKS if check.sends_goodbye]
    runs = latest_runs().filter(status__in=GOOD, checks__has_any_keys=names)[:count]
    every = runs.values_list("checks", flat=True)
    return [sum(checks[name]["succeeded"] for name in names if name in checks) for checks in every]
