"""The numbers of the dashboard, each from one statement. Nothing here writes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, Count, Min, Q, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from engagement.conf import engagement_settings
from engagement.models import IN_DOUBT, EngagementMessage, EngagementStateTransition, MessageStatus
from engagement.schedule import first_run_from
from engagement.selectors import due_users
from engagement.selectors.audit_log import first_id_of
from engagement.selectors.deliveries import DUE_AT, NOT_DELIVERED
from engagement.states import CHECKS, State, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

    from engagement.models import UserEngagementState
    from engagement.states import Check, Policy

DAYS_SHOWN: Final = 30

# Only the rows of these triggers need a look at their metadata.
_IS_MANUAL: Final = Case(
    When(trigger=Trigger.USER_MESSAGE, then=Q(metadata__has_key="performed_by")), default=False
)
_ENDED_BY_RUN: Final = (Trigger.GOODBYE_TIMEOUT, Trigger.RUN_UNDONE)
_GOODBYE: Final = Case(When(trigger__in=_ENDED_BY_RUN, then=KeyTextTransform("goodbye", "metadata")))
_UNDONE: Final = Case(When(trigger=Trigger.RUN_UNDONE, then=KeyTextTransform("undone_job_id", "metadata")))


class DailyTransitions(NamedTuple):
    """How many users one trigger moved from one state to another on one day, in the active time zone."""

    day: date
    trigger: str
    from_state: str
    to_state: str
    is_manual: bool
    """Whether support marked the users as active."""
    undone_job_id: str | None
    """The run that these transitions undid."""
    goodbye: str | None
    """Of timeouts and of their undoing: whether the users were sent the goodbye."""
    number: int


class Due(NamedTuple):
    """How many users a check would move."""

    now: int
    next_run: int
    """In the next scheduled run, including those due now, if no user writes before."""


class Backlog(NamedTuple):
    """The messages that wait, failed or are in doubt."""

    pending: int
    oldest_pending_at: datetime | None
    """When the first of them is or was scheduled."""
    held_back: dict[str, int]
    """By `outcome_reason`: pending messages that the sender holds back."""
    sending: int
    unknown: int
    failed: int
    failed_by_reason: dict[str, int]
    """By `outcome_reason`; without those that have none."""
    sent_of_late: int
    """Sent within the last 24 hours."""
    failed_of_late: int = 0
    """Failed, and tried or scheduled within the last 24 hours."""
    not_delivered: int = 0
    """Sent within the last 24 hours, and reported as not delivered."""
    oldest_due_at: datetime | None = None
    """Since when the oldest pending message is due; one that the sender holds back is not due."""


def users_by_state() -> dict[State, int]:
    """How many users are in each state, including empty states."""
    return dict.fromkeys(State, 0) | due_users.count_by_state()


def due_by_check(*, now: datetime, policy: Policy) -> dict[Check, Due]:
    """How many users each check would move now and in the next scheduled run, in one statement.

    Counts the users past the cut-off, from an index alone, and subtracts the few whom the check
    skips. So no profile of a due user is read.
    """
    next_run_at = first_run_from(now, run_time=engagement_settings().run_time)
    parts = []
    for check in CHECKS:
        cutoff_at = check.cutoff_at(now=now, policy=policy)
        is_due_now = Q(**{f"{check.due_column}__lt": cutoff_at})
        past = due_users.past_cutoff(check, now=next_run_at, policy=policy)
        parts.append(_counts(check, past, is_due_now))
        if check.sends_goodbye:
            skipped = due_users.skipped_users(check, now=next_run_at, policy=policy)
            parts.append(_counts(check, skipped, is_due_now, sign=-1))
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


def message_backlog(*, now: datetime) -> Backlog:
    """Found by the partial indexes of the statuses, in four statements."""
    pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    failed = EngagementMessage.objects.filter(status=MessageStatus.FAILED)
    waiting = list(
        pending.values_list("outcome_reason").annotate(
            Count("pk"), Min("scheduled_for"), first_due_at=Min(DUE_AT)
        )
    )
    first_due_at = min((due_at for *_, due_at in waiting), default=None)
    a_day_ago = now - timedelta(days=1)
    is_recent = Q(tried_at__gte=a_day_ago, tried_at__lte=now)
    failures = list(
        failed.alias(tried_at=Coalesce("claimed_at", "scheduled_for"))
        .values_list("outcome_reason")
        .annotate(Count("pk"), of_late=Count("pk", filter=is_recent))
    )
    in_doubt = EngagementMessage.objects.filter(status__in=IN_DOUBT)
    doubts = dict(in_doubt.values_list("status").annotate(Count("pk")))
    sent = EngagementMessage.objects.filter(
        status=MessageStatus.SENT, claimed_at__gte=a_day_ago, claimed_at__lte=now
    ).aggregate(number=Count("pk"), not_delivered=Count("pk", filter=NOT_DELIVERED))
    return Backlog(
        pending=sum(number for _, number, *_ in waiting),
        oldest_pending_at=min((oldest for _, _, oldest, _ in waiting), default=None),
        held_back={reason: number for reason, number, *_ in waiting if reason},
        sending=doubts.get(MessageStatus.SENDING, 0),
        unknown=doubts.get(MessageStatus.UNKNOWN, 0),
        failed=sum(number for _, number, _ in failures),
        failed_by_reason={reason: number for reason, number, _ in failures if reason},
        sent_of_late=sent["number"],
        failed_of_late=sum(number for _, _, number in failures),
        not_delivered=sent["not_delivered"],
        oldest_due_at=first_due_at if first_due_at and first_due_at <= now else None,
    )


def transitions_by_day(*, now: datetime) -> list[DailyTransitions]:
    """The transitions of the last DAYS_SHOWN days, including today.

    The ids of the state machine's rows are ordered by time, so the primary key excludes older rows and
    no index on `created_at` is needed. About one in 160 rows with a random id is excluded as well.
    Transaction: opens one, or joins the caller's, which then has this limit of memory until it ends.
    """
    since = first_instant(now)
    rows = (
        EngagementStateTransition.objects.filter(created_at__gte=since, created_at__lte=now)
        .filter(id__gte=first_id_of(since))
        .values_list(
            TruncDate("created_at"),
            "trigger",
            "from_state",
            "to_state",
            _IS_MANUAL,
            _UNDONE,
            _GOODBYE,
        )
        .annotate(number=Count("*"))
    )
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        # PostgreSQL expects as many groups as rows. With less memory it would sort them all on disk.
        cursor.execute("SET LOCAL work_mem = '32MB'")
        return [DailyTransitions(*row) for row in rows]


def first_instant(now: datetime) -> datetime:
    """The start of the first day shown, in the active time zone."""
    first_day = timezone.localdate(now) - timedelta(days=DAYS_SHOWN - 1)
    return timezone.make_aware(datetime.combine(first_day, time()))
