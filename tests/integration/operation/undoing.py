"""Undo of a run, two hours after it, and the users before and after."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_run import undo_run
from tests.database import all_rows
from tests.factories import NOW

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.services.undo.undo_result import UndoResult

LATER: Final = NOW + timedelta(hours=2)


def undo(job_id: UUID, *, now: datetime = LATER, dry_run: bool = False) -> UndoResult:
    return undo_run(request=UndoRequest(job_id=job_id, now=now, dry_run=dry_run))


def not_undone(result: UndoResult) -> dict[str, int]:
    return {reason.value: count for reason, count in result.counts.not_undone.items()}


def count_undone() -> int:
    return EngagementStateTransition.objects.filter(trigger="run_undone").count()


def stored(user: UserEngagementState) -> UserEngagementState:
    return UserEngagementState.objects.get(pk=user.pk)


def all_users() -> list[Any]:
    """Profiles and states, but for when these were last written."""
    profiles, states, *_ = all_rows()
    return [*profiles, *({**row, "updated_at": None} for row in states)]
