"""The audit log: transitions of a user, of a run, of a batch. Nothing here writes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from django.db.models import Count, Exists, Max, OuterRef, Q, Subquery, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.db.models.lookups import Exact

from engagement.models import EngagementStateTransition
from engagement.states import State, Transition, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet

TIME_ORDERED: Final = 7
"""The version of time-ordered UUIDs, which the ORM makes."""

MAX_CLOCK_SKEW: Final = timedelta(days=1)
"""Between the clock that made the id of a row and the clock of its `created_at`."""


def first_id_of(since: datetime) -> UUID:
    """An id below those of all rows that were written since then; such ids begin with the milliseconds.

    About one in 160 random ids of other programs is below it too.
    """
    milliseconds = max(int((since - MAX_CLOCK_SKEW).timestamp() * 1000), 0)
    return UUID(int=milliseconds << 80)


def dormant_since(user_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each of the users last became dormant, as far as the audit log knows."""
    transitions = not_undone().filter(user_id__any_of=user_ids, to_state=State.DORMANT)
    return dict(transitions.order_by("user_id", "created_at").values_list("user_id", "created_at"))


_WITH_OFFSET: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
"""A time as the services and functions.sql write it, as a regular expression of PostgreSQL."""


def last_transition_by_message(user_id: UUID) -> Transition | None:
    """The user's latest transition whose audit row says when the message was received that caused it.

    Other programs may write anything into the metadata: what is no time with an offset is passed over.
    """
    transitions = EngagementStateTransition.objects.filter(
        user_id=user_id, metadata__received_at__regex=_WITH_OFFSET
    )
    row = transitions.order_by("-created_at", "-id").values_list(*Transition._fields).first()
    return Transition(*row) if row else None


def transition_with_id(transition_id: UUID) -> Transition | None:
    """This transition, if the audit log has it."""
    row = EngagementStateTransition.objects.filter(pk=transition_id).values_list(*Transition._fields).first()
    return Transition(*row) if row else None


def entered_at(user_id: UUID, state: str) -> datetime | None:
    """When the user last came to this state, as far as the audit log knows."""
    transitions = not_undone().filter(user_id=user_id, to_state=state)
    return transitions.order_by("-created_at").values_list("created_at", flat=True).first()


def moved_by_run(job_id: UUID, *, user_ids: Collection[UUID]) -> set[UUID]:
    """The users of `user_ids` whom this run has moved."""
    transitions = transitions_of_run(job_id).filter(user_id__any_of=user_ids)
    return set(transitions.values_list("user_id", flat=True))


def transitions_of_run(job_id: UUID) -> QuerySet[EngagementStateTransition]:
    """The transitions of a run."""
    return EngagementStateTransition.objects.filter(of_run(job_id))


def of_run(job_id: UUID) -> Q:
    """The condition that a run made the transition."""
    # As text, which is what the index has: other programs may store what is no UUID.
    condition = Q(Exact(KT("metadata__job_id"), str(job_id)))
    # The rows are younger than the run. For a run of many users the primary key, read from here on, may be
    # cheaper than sorting what the index finds.
    return condition & Q(id__gt=job_id) if job_id.version == TIME_ORDERED else condition


def by_person(name: str) -> Q:
    """The condition that a staff account made the transition."""
    return Q(Exact(KT("metadata__performed_by"), name))


def with_undoing(transitions: QuerySet[EngagementStateTransition]) -> QuerySet[EngagementStateTransition]:
    """The transitions, each with `undone_at`, if it was undone. Costs something for the rows read only."""
    return transitions.annotate(undone_at=Subquery(_undoing_of_outer_row().values("created_at")[:1]))


def not_undone() -> QuerySet[EngagementStateTransition]:
    """The transitions that were not undone.

    An undone one of a run whose clock was ahead would seem to be the latest.
    """
    return EngagementStateTransition.objects.exclude(Exists(_undoing_of_outer_row()))


def _undoing_of_outer_row() -> QuerySet[EngagementStateTransition]:
    undoing = EngagementStateTransition.objects.filter(
        user_id=OuterRef("user_id"), trigger=Trigger.RUN_UNDONE
    )
    return undoing.alias(undone_id=KT("metadata__undone_transition_id")).filter(
        undone_id=Cast(OuterRef("pk"), TextField())
    )


class Undoing(NamedTuple):
    """What one person, or the command, has undone of a run."""

    performed_by: str
    """The staff account; empty for the command."""
    number: int
    last_at: datetime


def undoings_of_run(job_id: UUID) -> list[Undoing]:
    """Who has undone transitions of a run, the latest first."""
    undoing = EngagementStateTransition.objects.filter(trigger=Trigger.RUN_UNDONE)
    of_run = undoing.alias(run=KT("metadata__undone_job_id")).filter(run=str(job_id))
    by_person = of_run.order_by().values_list(KT("metadata__performed_by"))
    rows = by_person.annotate(Count("pk"), Max("created_at"))
    undoings = [Undoing(person or "", number, last_at) for person, number, last_at in rows]
    return sorted(undoings, key=lambda undoing: undoing.last_at, reverse=True)
