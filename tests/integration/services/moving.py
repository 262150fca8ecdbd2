"""Moving one user, and looking at what is stored then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.factories import NOW

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.states import Transition


def move(
    user: UserEngagementState, trigger: str, *, now: datetime = NOW, **options: Any
) -> Transition | None:
    return transition_state(user_id=user.user_id, trigger=Trigger(trigger), now=now, **options)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return {**UserEngagementState.objects.values().get(pk=user.pk)}


def count_audit_rows() -> int:
    return EngagementStateTransition.objects.count()
