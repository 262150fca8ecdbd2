"""What the front page shows: a handful of questions, each answered in one statement. Nothing here writes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from django.db.models import Case, Count, Min, Q, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import TruncDate

from engagement.conf import engagement_settings
from engagement.models import EngagementMessage, EngagementStateTransition, MessageStatus
from engagement.schedule import first_run_from
from engagement.selectors import due_users
from engagement.states import CHECKS, State, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.states import Check, Policy

DAYS_SHOWN: Final = 30

CLOCKS_DIFFER: Final = timedelta(days=1)
"""By less than this, between the one that made a row's id and the one that its `created_at` is by."""

# The metadata is looked at where the trigger makes that worth it.
_IS_BY_HAND: Final = Case(
    When(trigger=Trigger.USER_MESSAGE, then=Q(metadata__has_key="performed_by")), default=False
)
_UNDONE: Final = Case(When(trigger=Trigger.RUN_UNDONE, then=KeyTextTransform("undone_job_id", "metadata")))


class MovesOfDay(NamedTuple):
    """How many users one trigger moved from one state to another on one day, by UTC."""

    day: date
    trigger: str
    from_state: str
    to_state: str
    is_manual: bool
    """Whether a person brought them back who did not write."""
    undone_job_id: str | None
    """The run whose moves these took back."""
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
    return dict.fromkeys(State, 0) | due_users.count_by_state()


def due_by_check(*, now: datetime, policy: Policy) -> dict[Check, Due]:
    """Whom a run would move now, and the next scheduled one, in one statement.

    Those whose time has come, which an index alone tells, less the few of them who are told no
    goodbye; so that nobody who is due need be looked up.
    """
    next_run_at = first_run_from(now, run_time=engagement_settings().run_time)
    parts = []
    for check in CHECKS:
        cutoff_at = check.cutoff_at(now=now, policy=policy)
        is_due_now = Q(**{f"{check.due_column}__lt": cutoff_at})
        come = due_users.past_cutoff(check, now=next_run_at, policy=policy)
        parts.append(_counts(check, come, is_due_now))
        if check.sends_goodbye:
            stay = due_users.skipped_users(check, now=next_run_at, policy=policy)
            parts.append(_counts(check, stay, is_due_now, sign=-1))
    return _summed(parts[0].union(*parts[1:], all=True))


def _counts(
    check: Check, users: QuerySet[UserEngagementState], is_due_now: Q, *, sign: int = 1
) -> QuerySet[UserEngagementState, tuple[str, int, int]]:
    named = users.annotate(name=Value(check.name)).values_list("name")
    return named.annotate(now=sign * Count("user", filter=is_due_now), next_run=sign * Count("user"))


def _summed(rows: Iterable[tuple[str, int, int]]) -> dict[Check, Due]:
    sums = {check.name: Due(0, 0) for check in CHECKS}
    for name, now, next_run in rows:
        sums[name] = Due(sums[name].now + now, sums[name].next_run + next_run)
    return {check: sums[check.name] for check in CHECKS}


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
        .values_list(
            TruncDate("created_at", tzinfo=UTC), "trigger", "from_state", "to_state", _IS_BY_HAND, _UNDONE
        )
        .annotate(number=Count("*"))
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
