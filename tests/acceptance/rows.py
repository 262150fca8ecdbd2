"""All rows of the four tables at one instant, read with plain SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    import psycopg


class Profile(NamedTuple):
    """A row of user_profiles."""

    user_id: UUID
    whatsapp_jid: str | None
    preferred_destination: str
    locale: str
    reengagement_opt_out: bool
    opt_out_changed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    time_zone: str | None = None
    opt_out_source: str | None = None


class UserState(NamedTuple):
    """A row of user_engagement_states."""

    id: UUID
    user_id: UUID
    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Transition(NamedTuple):
    """A row of engagement_state_transitions."""

    id: UUID
    user_id: UUID
    from_state: str
    to_state: str
    trigger: str
    metadata: Mapping[str, Any]
    created_at: datetime


class Message(NamedTuple):
    """A row of engagement_message_queue."""

    id: UUID
    user_id: UUID
    message_type: str
    message_key: str
    message_params: Mapping[str, Any]
    destination: str
    destination_jid: str
    scheduled_for: datetime
    sent_at: datetime | None
    status: str
    retry_count: int
    error_message: str | None
    idempotency_key: str
    created_at: datetime
    attempt_id: UUID | None = None
    claimed_at: datetime | None = None
    claim_expires_at: datetime | None = None
    next_attempt_at: datetime | None = None
    backend: str | None = None
    provider_message_id: str | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    failed_at: datetime | None = None
    error_code: str | None = None
    outcome_reason: str | None = None
    lease_request_id: UUID | None = None


COLUMNS: Final = {
    "user_profiles": Profile._fields,
    "user_engagement_states": UserState._fields,
    "engagement_state_transitions": Transition._fields,
    "engagement_message_queue": Message._fields,
}


class Snapshot(NamedTuple):
    """All rows of the four tables at one instant."""

    profiles: Mapping[UUID, Profile]
    states: Mapping[UUID, UserState]
    transitions: Mapping[UUID, Transition]
    messages: Mapping[UUID, Message]


Row = TypeVar("Row", Profile, UserState, Transition, Message)


def take_snapshot(connection: psycopg.Connection) -> Snapshot:
    """Read everything, as of one instant."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return Snapshot(
            {row.user_id: row for row in _read(connection, "user_profiles", Profile)},
            {row.user_id: row for row in _read(connection, "user_engagement_states", UserState)},
            {row.id: row for row in _read(connection, "engagement_state_transitions", Transition)},
            {row.id: row for row in _read(connection, "engagement_message_queue", Message)},
        )


def _read(connection: psycopg.Connection, table: str, kind: type[Row]) -> list[Row]:
    cursor = connection.cursor(row_factory=class_row(kind))
    return cursor.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}").fetchall()
