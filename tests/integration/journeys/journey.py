"""The days of one user: the messages they write, and the run of each morning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.utils import timezone

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.services.inbound_messages import receive_message
from tests.factories import make_user
from tests.running import run_command

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

DAY_0: Final = datetime(2026, 3, 1, tzinfo=UTC)
NOON: Final = 12


class Journey:
    """A user who wrote at noon of day 0. A run starts at 06:00 every day, and then the sender."""

    def __init__(self, clock: FrozenDateTimeFactory) -> None:
        self._clock = clock
        self._last_run_on = 0
        clock.move_to(DAY_0 + timedelta(hours=NOON))
        self.user_id = make_user(last_activity_at=timezone.now()).user_id

    def comes_to(self, day: int, hour: int = NOON) -> None:
        """Run on every morning up to this day."""
        while self._last_run_on < day:
            self._last_run_on += 1
            self._clock.move_to(DAY_0 + timedelta(days=self._last_run_on, hours=6))
            assert run_command("run_engagement_daily", "--json").code == 0
            self.sender_works()
        self._clock.move_to(DAY_0 + timedelta(days=day, hours=hour))

    def writes(self, text: str, *, day: int, hour: int = NOON) -> str | None:
        """Receive a message of the user at this hour; returns the key of the reply."""
        self.comes_to(day, hour)
        now = timezone.now()
        return receive_message(user_id=self.user_id, text=text, received_at=now, now=now).reply_key

    def sender_works(self) -> None:
        """Mark pending messages as sent, as the assistant does."""
        pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
        pending.update(status=MessageStatus.SENT, sent_at=timezone.now())

    @property
    def state(self) -> str:
        return UserEngagementState.objects.get().state

    @property
    def has_opted_out(self) -> bool:
        return UserProfile.objects.get().reengagement_opt_out

    @property
    def diary(self) -> list[str]:
        """The transitions of the audit log: day, trigger and new state."""
        moves = EngagementStateTransition.objects.order_by("created_at")
        return [f"day {(move.created_at - DAY_0).days}: {move.trigger} -> {move.to_state}" for move in moves]

    @property
    def mail(self) -> list[str]:
        """The messages of the queue: day, type and status."""
        messages = EngagementMessage.objects.order_by("created_at")
        return [
            f"day {(message.created_at - DAY_0).days}: {message.message_type} {message.status}"
            for message in messages
        ]
