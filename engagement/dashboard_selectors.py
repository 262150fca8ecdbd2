"""What the front page shows: a handful of questions, each answered in one statement. Nothing here writes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from django.db.models import Count, Min
from django.db.models.functions import TruncDate

from engagement import selectors
from engagement.models import EngagementMessage, EngagementStateTransition, MessageStatus
from engagement.schedule import first_run_from
from engagement.states import CHECKS, State

if TYPE_CHECKING:
    from engagement.states import Check, Policy

DAYS_SHOWN: Final = 30

CLOCKS_DIFFER: Final = timedelta(days=1)
"""By less than this, between the one that made a row's id and the one that its `created_at` is by."""


class MovesOfDay(NamedTuple):
    """How many users one trigger moved out of one state on one day, by UTC."""

    day: date
    trigger: str
    from_state: str
    number: int


class Due(NamedTuple):
    """How many users a check would move."""

    now: int
    next_run: int
    """By the next scheduled run, those of now among them, if none of them writes."""


class Backlog(NamedTuple):
    """Messages that wait, and messages that nobody will send."""

    pending: int
    oldest_pending_at: datetime | None
    """For when the one was scheduled that has waited longest."""
    failed: int


def users_by_state() -> dict[State, int]:
    """How many users stand where; every state is named."""
    return dict.fromkeys(State, 0) | selectors.count_by_state()


def due_by_check(*, now: datetime, policy: Policy) -> dict[Check, Due]:
    """Whom a run would move now, and the next scheduled one: asked as the job's forecast asks."""
    waves = selectors.count_waves(runs=[now, first_run_from(now)], policy=policy)
    due = {}
    for check in CHECKS:
        first, second = (waves.get((check.name, number), selectors.Wave()).due for number in (0, 1))
        due[check] = Due(first, first + second)
    return due


def message_backlog() -> Backlog:
    """From the two partial indexes alone."""
    pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    failed = EngagementMessage.objects.filter(status=MessageStatus.FAILED)
    waiting = pending.aggregate(count=Count("pk"), oldest=Min("scheduled_for"))
    return Backlog(waiting["count"], waiting["oldest"], failed.count())


def moves_by_day(*, now: datetime) -> list[MovesOfDay]:
    """The moves of the last DAYS_SHOWN days, today's among them.

    The ids of the state machine's rows are in the order of time, so that the primary key leaves out
    all that is older, and no index on `created_at` is needed. Of rows to which another program gave
    random ids about one in 160 is left out as well.
    """
    since = first_instant(now)
    rows = (
        EngagementStateTransition.objects.filter(created_at__gte=since, created_at__lte=now)
        .filter(id__gte=_first_id_of(since - CLOCKS_DIFFER))
        .values_list(TruncDate("created_at", tzinfo=UTC), "trigger", "from_state")
        .annotate(count=Count("*"))
    )
    return [MovesOfDay(*row) for row in rows]


def first_instant(now: datetime) -> datetime:
    """When the first of the days shown begins."""
    first_day = now.astimezone(UTC).date() - timedelta(days=DAYS_SHOWN - 1)
    return datetime.combine(first_day, time(), UTC)


def _first_id_of(instant: datetime) -> UUID:
    """Before all time-ordered ids that are made at `instant` or later: they begin with its milliseconds."""
    milliseconds = max(int(instant.timestamp() * 1000), 0)
    return UUID(int=milliseconds << 80)
