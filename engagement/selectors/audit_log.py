"""What the audit log says: of users, of runs, and whether a batch was committed. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from django.db.models import Count

from engagement.models import EngagementStateTransition
from engagement.states import ReceivedMessage, State, Transition, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

TIME_ORDERED: Final = 7
"""The version of the UUIDs that the ORM makes."""


class LatestTransition(NamedTuple):
    """A user's latest row of the audit log."""

    id: UUID
    trigger: str


def dormant_since(user_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each of the users last became dormant, as far as the audit log knows."""
    moves = EngagementStateTransition.objects.filter(user_id__any_of=user_ids, to_state=State.DORMANT)
    return dict(moves.order_by("user_id", "created_at").values_list("user_id", "created_at"))


def last_transition_by_message(user_id: UUID) -> Transition | None:
    """The audit row of the user's latest move that a message of theirs made, if it names the message."""
    moves = EngagementStateTransition.objects.filter(
        user_id=user_id, metadata__has_keys=ReceivedMessage._fields
    )
    row = moves.order_by("-created_at", "-id").values_list(*Transition._fields).first()
    return Transition(*row) if row else None


def entered_at(user_id: UUID, state: str) -> datetime | None:
    """When the user last came to this state, as far as the audit log knows."""
    moves = EngagementStateTransition.objects.filter(user_id=user_id, to_state=state)
    return moves.order_by("-created_at").values_list("created_at", flat=True).first()


def is_in_audit_log(transition_id: UUID | None) -> bool:
    """Whether this very move was committed."""
    if transition_id is None:
        return False
    return EngagementStateTransition.objects.filter(pk=transition_id).exists()


def moved_by_run(job_id: UUID, *, user_ids: Collection[UUID]) -> set[UUID]:
    """Those of the users whose move by this run stands in the audit log."""
    moves = EngagementStateTransition.objects.filter(user_id__any_of=user_ids, metadata__job_id=str(job_id))
    return set(moves.values_list("user_id", flat=True))


def transitions_of_run(job_id: UUID) -> QuerySet[EngagementStateTransition]:
    """What the audit log has from this run."""
    moves = EngagementStateTransition.objects.filter(metadata__job_id=str(job_id))
    if job_id.version == TIME_ORDERED:
        # Rows are younger than the run: the index leaves out all that was there before.
        moves = moves.filter(id__gt=job_id)
    return moves


def count_transitions_of_run(job_id: UUID) -> dict[str, int]:
    """By trigger: how many moves the audit log has from this run."""
    return dict(transitions_of_run(job_id).values_list("trigger").annotate(Count("pk")))


def transitions_by(triggers: Collection[Trigger]) -> list[tuple[UUID, datetime]]:
    """Who was moved by one of the triggers, and when, as the audit log has it."""
    moves = EngagementStateTransition.objects.filter(trigger__in=triggers)
    return list(moves.order_by("created_at", "user_id").values_list("user_id", "created_at"))


def transitions_after(job_id: UUID, *, after: UUID | None, size: int) -> list[Transition]:
    """The first `size` moves of a run behind the audit row `after`, in the order of their ids."""
    rows = transitions_of_run(job_id)
    if after is not None:
        rows = rows.filter(id__gt=after)
    page = rows.order_by("id")[:size]
    return [Transition(*row) for row in page.values_list(*Transition._fields)]


def latest_transitions(user_ids: Collection[UUID]) -> dict[UUID, LatestTransition]:
    """By user: what was written about them last."""
    moves = EngagementStateTransition.objects.filter(user_id__any_of=user_ids)
    latest = moves.order_by("user_id", "-created_at", "-id").distinct("user_id")
    rows = latest.values_list("user_id", "id", "trigger")
    return {user_id: LatestTransition(move_id, trigger) for user_id, move_id, trigger in rows}


def undone_transition_ids(user_ids: Collection[UUID]) -> set[str]:
    """The ids of those users' moves that were undone, as text."""
    undoings = EngagementStateTransition.objects.filter(user_id__any_of=user_ids, trigger=Trigger.RUN_UNDONE)
    return set(undoings.values_list("metadata__undone_transition_id", flat=True))
