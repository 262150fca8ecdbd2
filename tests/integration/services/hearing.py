"""What the tests of messages in share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.services.inbound_messages import InboundResult, receive_message
from tests.factories import NOW, TICK, make_user

SECOND: Final = timedelta(seconds=1)
DAY: Final = timedelta(days=1)
TOLD_AT: Final = NOW - timedelta(hours=48) - TICK
"""When the users of the trait `goodbye_sent` were told goodbye."""
STATES: Final = ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"]


def hear(
    user: UserEngagementState | UserProfile, text: str, at: datetime = NOW, *, now: datetime | None = None
) -> InboundResult:
    return receive_message(user_id=user.user_id, text=text, received_at=at, now=now or max(at, NOW))


def a_user_in(state: str, **fields: Any) -> UserEngagementState:
    return make_user(*{state} - {"active"}, **fields)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return {**UserEngagementState.objects.values().get(pk=user.pk)}


def state_of(user: UserEngagementState) -> str:
    return str(stored(user)["state"])


def everything() -> list[list[dict[str, Any]]]:
    tables = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)
    return [[{**row} for row in table.objects.order_by("pk").values()] for table in tables]


def status_of_messages() -> dict[str, str]:
    return dict(EngagementMessage.objects.values_list("message_type", "status"))
