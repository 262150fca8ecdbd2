"""Calls of the functions in docs/sql/functions.sql, and what they and the services leave in the tables."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import connection

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from tests.running import PROJECT

if TYPE_CHECKING:
    from uuid import UUID


TEXTS: Final = {
    "user_message": "oi",
    "goodbye_response_1": "1",
    "goodbye_response_2": "2",
    "goodbye_response_3": "3",
}
"""By trigger: what a user writes."""
_COLUMNS: Final = (
    "state",
    "last_activity_at",
    "goodbye_sent_at",
    "goodbye_expires_at",
    "remind_at",
    "updated_at",
)


def create_functions() -> None:
    with connection.cursor() as cursor:
        cursor.execute((PROJECT / "docs" / "sql" / "functions.sql").read_text())


def call(name: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name}({', '.join(['%s'] * len(values))})", values)
        return cursor.fetchone()[0]


def claim(sender: str = "mine") -> EngagementMessage | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM engagement_claim(%s)", [sender])
        row = cursor.fetchone()
    return EngagementMessage.objects.get(pk=row[0]) if row else None


def report(message: EngagementMessage, *values: Any) -> bool:
    return bool(call("engagement_report", message.id, message.attempt_id, *values))


def comparable(user_id: UUID) -> Any:
    """State, dates to the half minute, audit rows and messages, without ids and digests."""
    states = UserEngagementState.objects.filter(user_id=user_id).values(*_COLUMNS)
    state = [{name: rough(value) for name, value in row.items()} for row in states]
    moves = EngagementStateTransition.objects.filter(user_id=user_id).order_by("created_at", "id")
    messages = EngagementMessage.objects.filter(user_id=user_id).order_by("id")
    return state, [_move(row) for row in moves], list(messages.values_list("status", "outcome_reason"))


def _move(row: EngagementStateTransition) -> Any:
    metadata = {key: value for key, value in row.metadata.items() if key != "text_digest"}
    if metadata.get("trigger_source") == "user_message":
        received_at = datetime.fromisoformat(metadata["received_at"])
        metadata["received_at"] = rough(min(received_at, row.created_at))
    former = metadata.get("former_timestamps", {})
    metadata["former_timestamps"] = {key: rough(datetime.fromisoformat(former[key])) for key in former}
    return row.from_state, row.to_state, row.trigger, metadata, rough(row.created_at)


class Near(float):
    """Seconds that equal others within half a minute: each side reads the clock for itself."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) < 30

    __hash__ = float.__hash__


def rough(value: Any) -> Any:
    return Near(value.timestamp()) if isinstance(value, datetime) else value
