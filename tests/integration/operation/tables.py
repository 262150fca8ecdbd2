"""All that the tables hold, to compare before and after."""

from __future__ import annotations

from typing import Any, Final

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile

MODELS: Final = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)


def all_rows() -> list[list[Any]]:
    """Every row of every table."""
    return [[*model._default_manager.order_by("pk").values()] for model in MODELS]


def all_users() -> list[Any]:
    """Profiles and states, but for when these were last written."""
    profiles, states, *_ = all_rows()
    return [*profiles, *({**row, "updated_at": None} for row in states)]
