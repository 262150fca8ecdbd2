"""What is compared of the tables."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from uuid import UUID


class StateRow(NamedTuple):
    """What is compared of a state."""

    user_id: UUID
    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None


class AuditRow(NamedTuple):
    """What is compared of a move."""

    user_id: UUID
    created_at: datetime
    from_state: str
    to_state: str
    trigger: str
    metadata: dict[str, Any]


class QueueRow(NamedTuple):
    """What is compared of a message."""

    idempotency_key: str
    user_id: UUID
    message_type: str
    message_key: str
    message_params: dict[str, Any]
    destination: str
    destination_jid: str
    scheduled_for: datetime
    status: str


def comparable(row: AuditRow) -> AuditRow:
    """With datetimes for texts, and without the digest: what counts is that it recognises a repetition."""
    metadata = {name: value for name, value in row.metadata.items() if name != "text_digest"}
    if former := metadata.get("former_timestamps"):
        metadata["former_timestamps"] = {name: datetime.fromisoformat(at) for name, at in former.items()}
    if received_at := metadata.get("received_at"):
        metadata["received_at"] = datetime.fromisoformat(received_at)
    return row._replace(metadata=metadata)
