"""Who is due, who is skipped, and why. Nothing here writes."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Concat, Greatest

from engagement.models import VISIBLE, EngagementMessage, UserEngagementState
from engagement.postgres import native_times
from engagement.selectors.goodbyes import LIVING, goodbye_key
from engagement.states import CHECKS, SkipReason, State, UserState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from engagement.states import Check, Policy


class Condition(NamedTuple):
    """A condition of a goodbye, and the reason for which a user is skipped who does not meet it."""

    skip_reason: SkipReason
    holds: Q


def goodbye_conditions(*, profile: str = "user__") -> tuple[Condition, ...]:
    """The conditions beside the silence. A user who breaks several is counted under the first.

    `profile` leads from the filtered rows to the profile.
    """
    return (
        Condition(SkipReason.OPTED_OUT, Q(**{f"{profile}reengagement_opt_out": False})),
        Condition(SkipReason.NO_DESTINATION, Q(**{f"{profile}whatsapp_jid__regex": VISIBLE})),
    )


GOODBYE_CONDITIONS: Final = goodbye_conditions()
MAY_GET_GOODBYE: Final = reduce(and_, (condition.holds for condition in GOODBYE_CONDITIONS))


class DueUser(NamedTuple):
    """A user whom a check has claimed, with the address for a goodbye if the check sends one."""

    user_state: UserState
    destination: str = ""
    destination_jid: str = ""


class Position(NamedTuple):
    """A place in the order of a check. The next page starts strictly after it."""

    due_at: datetime
    user_id: UUID


class Skipped(NamedTuple):
    """How many users are skipped, by reason. Each user is counted once."""

    opted_out: int = 0
    no_destination: int = 0

    @property
    def total(self) -> int:
        return self.opted_out + self.no_destination

    @classmethod
    def sum_of(cls, parts: Iterable[Skipped]) -> Skipped:
        """The sum by reason."""
        return cls(*map(sum, zip(*parts, strict=True)))


class DueCounts(NamedTuple):
    """Users who fall due with one of several runs."""

    due: int = 0
    """The run moves them."""
    skipped: Skipped = Skipped()
    """Neither that run nor a later one moves them."""


def past_cutoff(check: Check, *, now: datetime, policy: Policy) -> QuerySet[UserEngagementState]:
    """Users of the check's state whose time has come, skipped ones included."""
    return UserEngagementState.objects.filter(is_past_cutoff(check, now=now, policy=policy))


def is_past_cutoff(check: Check, *, now: datetime, policy: Policy, state: str = "") -> Q:
    """The condition of `past_cutoff`. `state` leads from the filtered rows to the state row."""
    cutoff_at = check.cutoff_at(now=now, policy=policy)
    return Q(**{f"{state}state": check.state.value, f"{state}{check.due_column}__lt": cutoff_at})


def due(check: Check, *, now: datetime, policy: Policy) -> QuerySet[UserEngagementState]:
    """Users whom the check would move now. Only a check that sends goodbyes asks for opt-out and address."""
    users = past_cutoff(check, now=now, policy=policy)
    return users.filter(MAY_GET_GOODBYE) if check.sends_goodbye else users


def count_movable(check: Check, *, now: datetime, policy: Policy) -> int:
    """Due users whom a run would move: all but those whose goodbye key of the day is dead.

    A key is dead if it belongs to a cancelled or failed message.
    """
    users = due(check, now=now, policy=policy)
    return users.filter(~_has_dead_key(now)).count() if check.sends_goodbye else users.count()


def _has_dead_key(now: datetime) -> Exists:
    key = Concat(Cast(OuterRef("user_id"), TextField()), Value(goodbye_key("", now=now)))
    dead = EngagementMessage.objects.filter(idempotency_key=key).exclude(status__in=LIVING)
    return Exists(dead)


def skipped_users(check: Check, *, now: datetime, policy: Policy) -> QuerySet[UserEngagementState]:
    """Users who would get a goodbye but opted out or have no address."""
    return past_cutoff(check, now=now, policy=policy).filter(~MAY_GET_GOODBYE)


def count_skipped(check: Check, *, now: datetime, policy: Policy) -> Skipped:
    """Users who would get a goodbye but opted out or have no address, by reason, in one query.

    Only for a check that sends goodbyes.
    """
    return Skipped(**skipped_users(check, now=now, policy=policy).aggregate(**_skip_counts()))


def _skip_counts() -> dict[str, Count]:
    """By reason: the users who break this condition and none before it."""
    counts, others_hold = {}, Q()
    for reason, holds in GOODBYE_CONDITIONS:
        counts[reason.value] = Count("pk", filter=others_hold & ~holds)
        others_hold &= holds
    return counts


def count_due_by_run(*, runs: Sequence[datetime], policy: Policy) -> dict[tuple[str, int], DueCounts]:
    """By check and index into `runs` (in order): the users who fall due with that run.

    One statement, so that a user who moves meanwhile is counted once.
    """
    first, *others = (_due_counts(check, runs=runs, policy=policy) for check in CHECKS)
    rows = first.union(*others, all=True)
    return {(name, number): DueCounts(due, Skipped(*skipped)) for name, number, due, *skipped in rows}


def _due_counts(
    check: Check, *, runs: Sequence[datetime], policy: Policy
) -> QuerySet[UserEngagementState, Any]:
    cutoffs = [check.cutoff_at(now=now, policy=policy) for now in runs]
    # The number of cut-offs at or before the user's time is the number of runs that come too early.
    number: Func | Greatest = Func(
        F(check.due_column),
        Value(cutoffs, output_field=ArrayField(DateTimeField())),
        function="width_bucket",
        output_field=IntegerField(),
    )
    if check.sends_goodbye:
        # A key that is dead lets no run of its day move the user.
        later = sum(goodbye_key("", now=now) == goodbye_key("", now=runs[0]) for now in runs)
        is_due_today = Q(**{f"{check.due_column}__lt": cutoffs[0]}) & MAY_GET_GOODBYE
        held_back = Case(When(is_due_today & Q(_has_dead_key(runs[0])), then=later), default=0)
        number = Greatest(number, held_back)
    counts: dict[str, Any] = dict.fromkeys(Skipped._fields, Value(0))
    if check.sends_goodbye:
        counts = _skip_counts()
    due = Count("pk", filter=MAY_GET_GOODBYE if check.sends_goodbye else None)
    users = past_cutoff(check, now=runs[-1], policy=policy).annotate(name=Value(check.name), number=number)
    return users.values_list("name", "number").annotate(due=due, **counts)


def next_page(
    check: Check, *, now: datetime, policy: Policy, after: Position | None, size: int
) -> QuerySet[UserEngagementState]:
    """The first `size` due users after `after`, in index order. Reading the queryset locks the rows.

    Rows that another session has locked are skipped. A check that sends goodbyes locks the profiles too,
    so that an opt-out is either seen here or waits until the batch is committed.
    """
    users = due(check, now=now, policy=policy)
    if after is not None:
        column = check.due_column
        # The index can start from the first condition alone.
        users = users.filter(
            Q(**{f"{column}__gte": after.due_at}),
            Q(**{f"{column}__gt": after.due_at}) | Q(user_id__gt=after.user_id),
        )
    ordered = users.order_by(check.due_column, "user_id")
    return ordered.select_for_update(skip_locked=True, no_key=True)[:size]


def still_due(
    check: Check, *, now: datetime, policy: Policy, among: Collection[UUID]
) -> QuerySet[UserEngagementState]:
    """The users of `among` who are due, in index order. Reading the queryset locks the rows."""
    users = due(check, now=now, policy=policy).filter(user_id__any_of=among)
    ordered = users.order_by(check.due_column, "user_id")
    return ordered.select_for_update(skip_locked=True, no_key=True)


def states_of(user_ids: Collection[UUID] | Collection[str]) -> QuerySet[UserEngagementState]:
    """The users' state rows, in the order in which all writers lock them."""
    return UserEngagementState.objects.filter(user_id__any_of=user_ids).order_by("user_id")


def read_due_users(check: Check, users: QuerySet[UserEngagementState]) -> list[DueUser]:
    """Read the users of a batch; with a locking queryset this claims them."""
    if not check.sends_goodbye:
        return [DueUser(user_state) for user_state in read_user_states(users)]
    rows = users.values_list(*UserState._fields, "user__preferred_destination", "user__whatsapp_jid")
    with native_times():
        return [DueUser(UserState(*row[:-2]), *row[-2:]) for row in rows]


def read_user_states(users: QuerySet[UserEngagementState]) -> list[UserState]:
    """Read state rows in the form that the state machine takes."""
    with native_times():
        return [UserState(*row) for row in users.values_list(*UserState._fields)]


def lock_states_of(user_ids: Collection[UUID]) -> list[UserState]:
    """Lock and read the state rows of the users who have one, in the order of their ids.

    Transaction: needs the caller's, and the rows stay locked until it ends. Waits for locks. Repeatable.
    """
    return read_user_states(states_of(user_ids).select_for_update(no_key=True))


def count_by_state() -> dict[State, int]:
    """How many users are in each state. Empty states are missing."""
    states = UserEngagementState.objects.values_list("state").annotate(Count("pk"))
    return {State(state): count for state, count in states}


def count_active() -> int:
    """All active users, with the silent and the opted-out ones."""
    return UserEngagementState.objects.filter(state=State.ACTIVE).count()
