"""One user: what happens to them through the services, and what the tables say afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.services.inbound_messages import InboundResult, receive_message
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.factories import NOW, make_user

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.states import Transition

STATES: Final = ["active", "goodbye_sent", "help_flow", "remind_later", "dormant"]


def a_user_in(state: str, **fields: Any) -> UserEngagementState:
    return make_user(*{state} - {"active"}, **fields)


def hear(
    user: UserEngagementState | UserProfile, text: str, at: datetime = NOW, *, now: datetime | None = None
) -> InboundResult:
    return receive_message(user_id=user.user_id, text=text, received_at=at, now=now or max(at, NOW))


def move(
    user: UserEngagementState, trigger: str, *, now: datetime = NOW, **options: Any
) -> Transition | None:
    return transition_state(user_id=user.user_id, trigger=Trigger(trigger), now=now, **options)


def stored(user: UserEngagementState) -> dict[str, Any]:
    return {**UserEngagementState.objects.values().get(pk=user.pk)}


def state_of(user: UserEngagementState) -> str:
    return str(stored(user)["state"])


def count_audit_rows() -> int:
    return EngagementStateTransition.objects.count()


def status_of_messages() -> dict[str, str]:
    return dict(EngagementMessage.objects.values_list("message_type", "status"))
