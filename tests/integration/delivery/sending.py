"""A backend that answers as a test tells it, and senders that use it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from engagement.message_backends.base import Accepted, MessageBackend
from engagement.models import EngagementMessage, MessageStatus, MessageType, UserEngagementState
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.sender import SendRequest, send_messages
from tests.factories import make_user
from tests.running import run_job
from tests.times import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from engagement.message_backends.base import OutgoingMessage, SendOutcome
    from engagement.services.delivery.result import SendResult


class ScriptedBackend(MessageBackend):
    """Gives the answers of a list, then accepts; notes what it was given."""

    name = "scripted"

    def __init__(self, *answers: SendOutcome | Callable[[OutgoingMessage], SendOutcome]) -> None:
        self.answers = list(answers)
        self.received: list[OutgoingMessage] = []

    @property
    def max_call(self) -> timedelta:
        return timedelta(seconds=30)

    def send(self, message: OutgoingMessage) -> SendOutcome:
        self.received.append(message)
        answer = self.answers.pop(0) if self.answers else Accepted(f"wamid.{len(self.received)}")
        return answer(message) if callable(answer) else answer


def send(backend: MessageBackend | None = None, **options: Any) -> SendResult:
    return send_messages(request=SendRequest(backend=backend or ScriptedBackend(), **options))


def told_user(*, ago: timedelta = MINUTE, **fields: Any) -> UserEngagementState:
    """A user whose goodbye a run has queued `ago`."""
    now = database_now() - ago
    user = make_user("silent", last_activity_at=now - 20 * DAY)
    type(user.user).objects.filter(pk=user.user_id).update(**fields)
    run_job(now=now)
    return UserEngagementState.objects.get(pk=user.pk)


def active_user() -> UserEngagementState:
    """A user who has just written."""
    return make_user(last_activity_at=database_now())


def goodbye_of(user: UserEngagementState) -> EngagementMessage:
    return EngagementMessage.objects.get(user_id=user.user_id, message_type=MessageType.GOODBYE)


def statuses() -> list[str]:
    return sorted(EngagementMessage.objects.values_list("status", flat=True))


def unknown_goodbye(*, claimed_at: datetime) -> EngagementMessage:
    message = goodbye_of(told_user())
    message.status, message.claimed_at = MessageStatus.UNKNOWN, claimed_at
    message.save()
    return message
