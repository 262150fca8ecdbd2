"""Activity logs as the tests write them, and looking at what came of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from engagement.models import UserEngagementState
from engagement.replay.loading import user_id_of
from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE: Final = PROJECT / "data" / "cdnow_activity.csv.gz"

HEADER: Final = "user,occurred_at,locale,whatsapp_jid,reengagement_opt_out"
NOON: Final = datetime(1997, 1, 1, 12, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class WriteLog(Protocol):
    """Write a log of these rows, and say where."""

    def __call__(self, *rows: str, header: str = HEADER) -> Path: ...


def event(user: str, occurred_at: datetime = NOON, attributes: str = ",,") -> str:
    return f"{user},{occurred_at.isoformat()},{attributes}"


def state_of(user: str) -> UserEngagementState:
    return UserEngagementState.objects.select_related("user").get(user_id=user_id_of(user))
