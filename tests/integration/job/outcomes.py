"""What the tables must hold after a run."""

from __future__ import annotations

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.states import State


def assert_all_moved_once(count: int) -> None:
    """So many users were told goodbye, each with one audit row and one message; nobody else moved."""
    assert UserEngagementState.objects.filter(state=State.GOODBYE_SENT).count() == count
    assert EngagementStateTransition.objects.values("user_id").distinct().count() == count
    assert EngagementStateTransition.objects.count() == EngagementMessage.objects.count() == count
