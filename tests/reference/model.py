"""The state machine, the run and the inbound messages of the design, in memory, by the rules of `rules`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tests.reference.rows import (
    AuditRow,
    Heard,
    Inbound,
    MovingMessage,
    Newcomer,
    QueueRow,
    StateRow,
    Status,
    Tally,
    User,
)
from tests.reference.rules import (
    CHECKS,
    DAY,
    GOODBYE_TEXT,
    RESPONSE_TYPES,
    TRANSITIONS,
    UNPROMPTED_RETURN_AFTER,
    days_inactive,
    due_check,
    former_timestamps,
    goodbye_key,
    next_check,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from uuid import UUID

ANSWERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1️⃣": "goodbye_response_1",
        "Confused?": "goodbye_response_1",
        " 2. ": "goodbye_response_2",
        "OCUPADO": "goodbye_response_2",
        "3": "goodbye_response_3",
        "all  good!": "goodbye_response_3",
    }
)
WISHES: Final[Mapping[str, bool]] = MappingProxyType(
    {"Parar.": True, "cancelar mensagens": True, "START": False, "voltar": False}
)
"""Texts that opt out or in."""
TEXTS: Final = (*ANSWERS, *WISHES, "oi", "", "não quero parar", "opção 2")

REPLY_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "goodbye_response_1": "engagement.reply.help",
        "goodbye_response_2": "engagement.reply.see_you_in_two_weeks",
        "goodbye_response_3": "engagement.reply.door_is_open",
    }
)
RE_ENGAGEMENT: Final = ("goodbye", "reminder", "weekly_review", "help_restart")


@dataclass(slots=True)
class World:
    """All users, the audit log and the queue."""

    users: dict[UUID, User] = field(default_factory=dict)
    audit_log: list[AuditRow] = field(default_factory=list)
    queue: dict[str, QueueRow] = field(default_factory=dict)

    # The tables.

    def states(self) -> list[StateRow]:
        return sorted(
            StateRow(user_id, *(getattr(user.status, name) for name in StateRow._fields[1:]))
            for user_id, user in self.users.items()
            if user.status
        )

    def transitions(self) -> list[AuditRow]:
        """User by user, each in order."""
        return sorted(self.audit_log, key=lambda row: row.user_id)

    def messages(self) -> list[QueueRow]:
        return sorted(self.queue.values())

    def threshold_of(self, user_id: UUID) -> datetime | None:
        """The instant at which something about the user changes."""
        user = self.users.get(user_id)
        if user is None or user.status is None:
            return None
        if user.status.state == "dormant" and user.status.dormant_since:
            return user.status.dormant_since + UNPROMPTED_RETURN_AFTER
        _, at = next_check(user.status) or ("", None)
        return at

    # Other programs.

    def add(self, user_id: UUID, newcomer: Newcomer, *, at: datetime) -> None:
        user = self.users[user_id] = User(newcomer.jid, newcomer.destination, at, newcomer.opted_out)
        since = at - newcomer.for_long
        if newcomer.state:
            user.status = Status(newcomer.state, last_activity_at=since)
            user.status.set_timestamps(since=since)

    def send_messages(self) -> None:
        for key, message in self.queue.items():
            self.queue[key] = message._replace(status="sent")

    def cancel(self, user_id: UUID, message_types: Collection[str]) -> int:
        """Cancel the user's pending messages of these types; returns how many."""
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

    # Transitions.

    def happens(self, user_id: UUID, trigger: str, *, at: datetime) -> str:
        """Give one user a trigger; returns whether they are moved, or it is noted, refused, or unknown."""
        user, at = self.users.get(user_id), at.astimezone(UTC)
        if user is None or (user.status is None and trigger != "user_message"):
            return "unknown"
        if user.status is None:
            user.status = Status("active", last_activity_at=at)
            return "noted"
        if user.status.state == "active" and trigger == "user_message":
            user.status.set_timestamps(since=at)
            user.status.note_activity(at)
            return "noted"
        if (user.status.state, trigger) not in TRANSITIONS:
            return f"{trigger} refused from {user.status.state}"
        self.move(user_id, user.status, trigger, at=at)
        return "moved"

    def move(
        self,
        user_id: UUID,
        status: Status,
        trigger: str,
        *,
        at: datetime,
        heard_at: datetime | None = None,
        **more: object,
    ) -> None:
        """Move a user and write the audit row, whose metadata has `more` than the transition alone."""
        target = TRANSITIONS[status.state, trigger]
        metadata = {**_metadata(status, trigger, at=at), **more}
        self.audit_log.append(AuditRow(user_id, at, status.state, target, trigger, metadata))
        status.state = target
        status.set_timestamps(since=at)
        if target == "dormant":
            # Transitions may arrive in the wrong order: the later one counts.
            status.dormant_since = max(at, status.dormant_since or at)
        if trigger == "user_message":
            status.note_activity(heard_at or at)

    # The run.

    def run(
        self, *, at: datetime, checks: Collection[str], limit: int | None, dry_run: bool, job_id: UUID
    ) -> dict[str, Tally]:
        """One run; returns what each check reports."""
        tallies: dict[str, Tally] = {}
        moved: set[UUID] = set()
        at = at.astimezone(UTC)
        for check in (name for name in CHECKS if name in checks):
            past = [user_id for user_id in self._past_threshold(check, at=at) if user_id not in moved]
            skipped = [self.users[user_id] for user_id in past if not self._may_move(user_id, check)]
            due = [
                user_id
                for user_id in past
                if self._may_move(user_id, check) and not self._has_dead_key(user_id, check, at=at)
            ]
            due = due if limit is None else due[: limit - len(moved)]
            opted_out = sum(user.opted_out for user in skipped)
            tallies[check] = Tally(len(due), opted_out, len(skipped) - opted_out)
            moved.update(due)
            if not dry_run:
                self._move_due(due, check, at=at, job_id=job_id)
        return tallies

    def still_due(self, *, at: datetime, checks: Collection[str]) -> int:
        """The users whom a run would move now."""
        return sum(
            self._may_move(user_id, check)
            for check in checks
            for user_id in self._past_threshold(check, at=at.astimezone(UTC))
        )

    def _past_threshold(self, check: str, *, at: datetime) -> list[UUID]:
        """In the order in which a limited run takes them."""
        past = [
            (threshold, user_id)
            for user_id, user in self.users.items()
            if user.status and due_check(user.status, now=at) == check
            for _, threshold in [next_check(user.status) or (check, at)]
        ]
        return [user_id for _, user_id in sorted(past)]

    def _may_move(self, user_id: UUID, check: str) -> bool:
        return check != "inactivity_14d" or self.users[user_id].may_get_goodbye

    def _has_dead_key(self, user_id: UUID, check: str, *, at: datetime) -> bool:
        """Whether the key of the user's goodbye belongs to a message that will not be sent."""
        message = self.queue.get(goodbye_key(user_id, at=at))
        return check == "inactivity_14d" and message is not None and message.status == "cancelled"

    def _goodbye_of_wait(self, user_id: UUID, status: Status) -> QueueRow | None:
        began_at = status.goodbye_sent_at
        if began_at is None:
            return None
        if message := self.queue.get(goodbye_key(user_id, at=began_at)):
            return message
        since = [
            message
            for message in self.queue.values()
            if message.user_id == user_id
            and message.message_type == "goodbye"
            and message.scheduled_for >= began_at
        ]
        return max(since, key=lambda message: message.scheduled_for, default=None)

    def _end_wait(self, user_id: UUID, status: Status) -> str:
        """Cancel a goodbye that was not sent; returns whether the user was sent it."""
        message = self._goodbye_of_wait(user_id, status)
        if message is None:
            return "perhaps_sent"
        if message.status == "pending":
            self.queue[message.idempotency_key] = message._replace(status="cancelled")
        return "sent" if message.status == "sent" else "never_sent"

    def _move_due(self, due: list[UUID], check: str, *, at: datetime, job_id: UUID) -> None:
        for user_id in due:
            user = self.users[user_id]
            assert user.status
            more: dict[str, Any] = {"job_id": str(job_id)}
            if check == "goodbye_timeout":
                more["goodbye"] = self._end_wait(user_id, user.status)
            self.move(user_id, user.status, check, at=at, **more)
            if check == "inactivity_14d":
                assert user.jid
                key, to = goodbye_key(user_id, at=at), (user.destination, user.jid)
                row = QueueRow(key, user_id, "goodbye", GOODBYE_TEXT, {}, *to, at, "pending")
                self.queue.setdefault(key, row)

    # Inbound messages.

    def hear(self, message: Inbound, *, now: datetime) -> Heard | None:
        """A message arrives; None if the user is unknown."""
        user_id, text, received_at = message
        user = self.users.get(user_id)
        if user is None:
            return None
        heard_at = min(received_at, now)
        novelty = self._novelty(message, user, heard_at=heard_at)
        trigger = user.moving_message.trigger if user.moving_message and novelty == "repeat" else None
        if novelty == "new":
            user.status = user.status or Status("active", last_activity_at=heard_at)
            goodbye = self._goodbye_of_wait(user_id, user.status)
            was_told = goodbye is None or goodbye.status == "sent"
            trigger = _trigger(user.status, text, heard_at, was_told=was_told)
            if trigger:
                active_at = self._active_at(user_id, user.status, heard_at=heard_at, now=now)
                self.move(user_id, user.status, trigger, at=now, heard_at=active_at, received_at=received_at)
                user.moving_message = MovingMessage(received_at, text, heard_at, trigger)
            else:
                user.status.set_timestamps(since=now)
                user.status.note_activity(heard_at)
        opted_out, cancelled = self.wish(user_id, opted_out=WISHES.get(text), said_at=heard_at, now=now)
        if novelty == "new":
            cancelled += self.cancel(user_id, ["goodbye"])
        return Heard(novelty, trigger, opted_out, _reply_key(trigger, opted_out=opted_out), cancelled)

    def _active_at(self, user_id: UUID, status: Status, *, heard_at: datetime, now: datetime) -> datetime:
        """From when the silence counts: two goodbyes are 14 days apart, whenever a message arrives."""
        own = [row for row in self.audit_log if row.user_id == user_id and row.to_state == "goodbye_sent"]
        began_at = status.goodbye_sent_at or max((row.created_at for row in own), default=None)
        if began_at is None:
            return heard_at
        goodbye = self._goodbye_of_wait(user_id, replace(status, goodbye_sent_at=began_at))
        if goodbye and goodbye.status != "sent":
            return heard_at
        return min(max(began_at.replace(microsecond=0), heard_at), now)

    def wish(
        self, user_id: UUID, *, opted_out: bool | None, said_at: datetime, now: datetime
    ) -> tuple[bool | None, int]:
        """Opt out or in unless a later wish is known; returns the wish, and how many messages it cancels.

        Opting in needs proof that it came later than the opt-out.
        """
        user = self.users[user_id]
        changed_at = user.opt_out_changed_at
        if opted_out is None or (changed_at and changed_at > said_at):
            return None, 0
        if user.opted_out and not opted_out:
            is_later = changed_at < said_at if changed_at else user.updated_at <= said_at
            if not is_later:
                return None, 0
        user.opted_out, user.opt_out_changed_at, user.updated_at = opted_out, said_at, now
        return opted_out, self.cancel(user_id, RE_ENGAGEMENT) if opted_out else 0

    def _novelty(self, message: Inbound, user: User, *, heard_at: datetime) -> str:
        last, status = user.moving_message, user.status
        if last and (last.received_at, last.text) == (message.received_at, message.text):
            return "repeat"
        if last and heard_at < last.heard_at:
            return "old"
        if status and status.state != "active" and heard_at <= status.last_activity_at:
            entered_at = self._entered_at(message.user_id, status) or status.last_activity_at
            return "old" if heard_at < entered_at else "new"
        return "new"

    def _entered_at(self, user_id: UUID, status: Status) -> datetime | None:
        if status.state == "active":
            return None
        own = (row for row in self.audit_log if row.user_id == user_id)
        came_at = [row.created_at for row in own if row.to_state == status.state]
        return status.goodbye_sent_at or max(came_at, default=None)


def _trigger(status: Status, text: str, heard_at: datetime, *, was_told: bool) -> str | None:
    if status.state == "active":
        return None
    told_at = status.goodbye_sent_at
    if told_at and was_told and heard_at >= told_at.replace(microsecond=0):
        return ANSWERS.get(text, "user_message")
    return "user_message"


def _reply_key(trigger: str | None, *, opted_out: bool | None) -> str | None:
    if opted_out is not None:
        return "engagement.reply.opted_out" if opted_out else "engagement.reply.opted_in"
    return REPLY_KEYS.get(trigger or "")


def _metadata(status: Status, trigger: str, *, at: datetime) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "days_inactive": days_inactive(status, at=at),
        "trigger_source": "scheduler" if trigger in CHECKS else "user_message",
    }
    if trigger in RESPONSE_TYPES:
        assert status.goodbye_sent_at
        waited = at - status.goodbye_sent_at
        metadata["response_type"] = RESPONSE_TYPES[trigger]
        metadata["hours_waited"] = max(waited.days * 24 + waited.seconds // 3600, 0)
        metadata["days_since_goodbye"] = max(waited // DAY, 0)
    if status.state == "dormant":
        assert status.dormant_since
        if at >= status.dormant_since + UNPROMPTED_RETURN_AFTER:
            metadata["unprompted_return"] = True
    if former := former_timestamps(status):
        metadata["former_timestamps"] = former
    return metadata
