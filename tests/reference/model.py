"""What the design says becomes of users, told a second time: plain Python, and nothing of the app.

Slow and simple on purpose. Where this and the app disagree, one of them has misread the design.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tests.property.people import Newcomer, User, UserStatus, note_activity, set_timestamps
from tests.property.rows import AuditRow, QueueRow, StateRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

TABLE: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("active", "inactivity_14d"): "goodbye_sent",
        ("goodbye_sent", "user_message"): "active",
        ("goodbye_sent", "goodbye_response_1"): "help_flow",
        ("goodbye_sent", "goodbye_response_2"): "remind_later",
        ("goodbye_sent", "goodbye_response_3"): "dormant",
        ("goodbye_sent", "goodbye_timeout"): "dormant",
        ("help_flow", "user_message"): "active",
        ("remind_later", "user_message"): "active",
        ("remind_later", "reminder_due"): "dormant",
        ("dormant", "user_message"): "active",
    }
)
REPLIES: Final = ("goodbye_response_1", "goodbye_response_2", "goodbye_response_3")
CHECKS: Final = ("inactivity_14d", "goodbye_timeout", "reminder_due")
RESPONSE_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    dict(zip((*REPLIES, "goodbye_timeout"), ("confused", "busy", "all_good", "timeout"), strict=True))
)


@dataclass(slots=True)
class Tally:
    """What one check of one run should report."""

    succeeded: int
    opted_out: int = 0
    no_destination: int = 0


@dataclass(slots=True)
class World:
    """All users, the audit log and the queue."""

    users: dict[UUID, User] = field(default_factory=dict)
    audit_log: list[AuditRow] = field(default_factory=list)
    queue: dict[str, QueueRow] = field(default_factory=dict)

    def standings(self) -> list[StateRow]:
        return sorted(
            StateRow(
                user_id,
                user.user_status.state,
                user.user_status.last_activity_at,
                user.user_status.goodbye_sent_at,
                user.user_status.goodbye_expires_at,
                user.user_status.remind_at,
            )
            for user_id, user in self.users.items()
            if user.user_status
        )

    def moves(self) -> list[AuditRow]:
        """User by user, each in order."""
        return sorted(self.audit_log, key=lambda row: row.user_id)

    def messages(self) -> list[QueueRow]:
        return sorted(self.queue.values())

    def messages_are_sent(self) -> None:
        for key, message in self.queue.items():
            self.queue[key] = message._replace(status="sent")

    def threshold_of(self, user_id: UUID) -> datetime | None:
        """The instant at which something about the user changes."""
        user = self.users.get(user_id)
        if user is None or user.user_status is None:
            return None
        if user.user_status.state == "active":
            return user.user_status.last_activity_at + timedelta(days=14)
        if user.user_status.state == "dormant" and user.user_status.dormant_since:
            return user.user_status.dormant_since + timedelta(days=3)
        return user.user_status.goodbye_expires_at or user.user_status.remind_at

    def add(self, user_id: UUID, newcomer: Newcomer, *, at: datetime) -> None:
        """Somebody has been in this state for so long, and may have no state row."""
        user = User(newcomer.jid, newcomer.destination, newcomer.opted_out)
        since = at - newcomer.for_long
        if newcomer.state:
            user.user_status = UserStatus(newcomer.state, last_activity_at=since)
            set_timestamps(user.user_status, at=since)
        self.users[user_id] = user

    def happens(self, user_id: UUID, trigger: str, *, at: datetime) -> str:
        """Something happens to one user: they are moved, or it is noted, or refused, or they are unknown."""
        user, at = self.users.get(user_id), at.astimezone(UTC)
        if user is None or (user.user_status is None and trigger != "user_message"):
            return "unknown"
        if user.user_status is None:
            user.user_status = UserStatus("active", last_activity_at=at)
            return "noted"
        if user.user_status.state == "active" and trigger == "user_message":
            set_timestamps(user.user_status, at=at)
            note_activity(user.user_status, at)
            return "noted"
        if (user.user_status.state, trigger) not in TABLE:
            return f"{trigger} refused from {user.user_status.state}"
        self.move(user_id, user.user_status, trigger, at=at)
        return "moved"

    def cancel(self, user_id: UUID, message_types: Collection[str]) -> int:
        """Of the pending messages of the user; returns how many."""
        pending = [
            message
            for message in self.queue.values()
            if message.user_id == user_id
            and message.message_type in message_types
            and message.status == "pending"
        ]
        for message in pending:
            self.queue[message.idempotency_key] = message._replace(status="cancelled")
        return len(pending)

    def run(
        self, *, at: datetime, checks: Collection[str], limit: int | None, dry_run: bool, job_id: UUID
    ) -> dict[str, Tally]:
        """One run of the job; returns what each check should report."""
        tallies: dict[str, Tally] = {}
        moved: set[UUID] = set()
        at = at.astimezone(UTC)
        for check in CHECKS:
            if check not in checks:
                continue
            past = [user_id for user_id in self._past_cutoff(check, at=at) if user_id not in moved]
            due = (
                past
                if check != "inactivity_14d"
                else [user_id for user_id in past if self._may_hear(user_id)]
            )
            due = due if limit is None else due[: limit - len(moved)]
            tallies[check] = Tally(len(due))
            if check == "inactivity_14d":
                opted_out = sum(self.users[user_id].opted_out for user_id in past)
                mute = sum(not self._may_hear(user_id) for user_id in past)
                tallies[check] = Tally(len(due), opted_out, mute - opted_out)
            moved.update(due)
            if not dry_run:
                self._move_due(due, check, at=at, job_id=job_id)
        return tallies

    def _past_cutoff(self, check: str, *, at: datetime) -> list[UUID]:
        """In the order in which a limited run takes them."""
        times: dict[UUID, datetime] = {}
        for user_id, user in self.users.items():
            user_status = user.user_status
            if user_status is None:
                continue
            if check == "inactivity_14d" and user_status.state == "active":
                times[user_id] = user_status.last_activity_at + timedelta(days=14)
            if check == "goodbye_timeout" and user_status.state == "goodbye_sent":
                assert user_status.goodbye_expires_at
                times[user_id] = user_status.goodbye_expires_at
            if check == "reminder_due" and user_status.state == "remind_later":
                assert user_status.remind_at
                times[user_id] = user_status.remind_at
        return sorted((user_id for user_id in times if at > times[user_id]), key=lambda u: (times[u], u))

    def _may_hear(self, user_id: UUID) -> bool:
        return bool(self.users[user_id].jid) and not self.users[user_id].opted_out

    def _move_due(self, due: list[UUID], check: str, *, at: datetime, job_id: UUID) -> None:
        for user_id in due:
            user_status = self.users[user_id].user_status
            assert user_status
            self.move(user_id, user_status, check, at=at, more={"job_id": str(job_id)})
            if check == "inactivity_14d":
                self._say_goodbye(user_id, at=at)

    def _say_goodbye(self, user_id: UUID, *, at: datetime) -> None:
        key = f"{user_id}:goodbye_sent:{at:%Y-%m-%d}"
        user = self.users[user_id]
        assert user.jid
        message = QueueRow(
            key,
            user_id,
            "goodbye",
            "engagement.goodbye.self_select",
            {},
            user.destination,
            user.jid,
            at,
            "pending",
        )
        self.queue.setdefault(key, message)

    def move(
        self,
        user_id: UUID,
        user_status: UserStatus,
        trigger: str,
        *,
        at: datetime,
        heard_at: datetime | None = None,
        more: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Move a user and write the audit row, which says `more` than the move alone."""
        target = TABLE[user_status.state, trigger]
        metadata = {**_metadata(user_status, trigger, at=at), **more}
        self.audit_log.append(AuditRow(user_id, at, user_status.state, target, trigger, metadata))
        user_status.state = target
        set_timestamps(user_status, at=at)
        if target == "dormant":
            # Of two moves told in the wrong order, the later one counts.
            user_status.dormant_since = max(at, user_status.dormant_since or at)
        if trigger == "user_message":
            note_activity(user_status, heard_at or at)


def _metadata(user_status: UserStatus, trigger: str, *, at: datetime) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "days_inactive": max((at - user_status.last_activity_at).days, 0),
        "trigger_source": "scheduler" if trigger in CHECKS else "user_message",
    }
    if trigger in RESPONSE_TYPES:
        assert user_status.goodbye_sent_at
        waited = at - user_status.goodbye_sent_at
        metadata["response_type"] = RESPONSE_TYPES[trigger]
        metadata["hours_waited"] = max(waited.days * 24 + waited.seconds // 3600, 0)
        metadata["days_since_goodbye"] = max(waited.days, 0)
    if user_status.state == "dormant":
        assert user_status.dormant_since
        if at >= user_status.dormant_since + timedelta(days=3):
            metadata["unprompted_return"] = True
    former = {
        "goodbye_sent_at": user_status.goodbye_sent_at,
        "goodbye_expires_at": user_status.goodbye_expires_at,
        "remind_at": user_status.remind_at,
    }
    if any(former.values()):
        metadata["former_timestamps"] = {name: value for name, value in former.items() if value}
    return metadata
