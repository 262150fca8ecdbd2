"""What the design says becomes of a message, told a second time: plain Python, and nothing of the app."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.property.people import MovingMessage, UserStatus, note_activity, set_timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from tests.reference.model import World

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
TEXTS: Final = (*ANSWERS, *WISHES, "oi", "", "não quero parar", "opção 2")

REPLIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "goodbye_response_1": "engagement.reply.help",
        "goodbye_response_2": "engagement.reply.see_you_in_two_weeks",
        "goodbye_response_3": "engagement.reply.door_is_open",
    }
)
RE_ENGAGEMENT: Final = ("goodbye", "reminder", "weekly_review", "help_restart")


class Delivery(NamedTuple):
    """A message that was handed in."""

    user_id: UUID
    text: str
    received_at: datetime


class Heard(NamedTuple):
    """What is compared of the answer to a message."""

    novelty: str
    trigger: str | None
    opted_out: bool | None
    reply_key: str | None
    cancelled: int


def hear(world: World, user_id: UUID, text: str, *, received_at: datetime, now: datetime) -> Heard | None:
    """A message arrives; None where nobody knows the user."""
    user = world.users.get(user_id)
    if user is None:
        return None
    heard_at = min(received_at, now)
    novelty = _novelty(world, user_id, text, received_at=received_at, heard_at=heard_at)
    last = user.last_moving_message
    trigger = last.trigger if last and novelty == "repeat" else None
    if novelty == "new":
        user.user_status = user.user_status or UserStatus("active", last_activity_at=heard_at)
        trigger = _trigger(user.user_status, text, heard_at)
        if trigger:
            more = {"received_at": received_at}
            world.move(user_id, user.user_status, trigger, at=now, heard_at=heard_at, more=more)
            user.last_moving_message = MovingMessage(received_at, text, heard_at, trigger)
        else:
            set_timestamps(user.user_status, at=now)
            note_activity(user.user_status, heard_at)
    opted_out, cancelled = wish(world, user_id, opted_out=WISHES.get(text), said_at=heard_at)
    if novelty == "new":
        cancelled += world.cancel(user_id, ["goodbye"])
    return Heard(novelty, trigger, opted_out, _reply(trigger, opted_out=opted_out), cancelled)


def wish(
    world: World, user_id: UUID, *, opted_out: bool | None, said_at: datetime
) -> tuple[bool | None, int]:
    """A wish counts if there is no later one; returns what counts, and how many messages it cancels."""
    user = world.users[user_id]
    if opted_out is None or (user.opt_out_changed_at and user.opt_out_changed_at > said_at):
        return None, 0
    user.opted_out, user.opt_out_changed_at = opted_out, said_at
    return opted_out, world.cancel(user_id, RE_ENGAGEMENT) if opted_out else 0


def _novelty(world: World, user_id: UUID, text: str, *, received_at: datetime, heard_at: datetime) -> str:
    user = world.users[user_id]
    last, user_status = user.last_moving_message, user.user_status
    if last and (last.received_at, last.text) == (received_at, text):
        return "repeat"
    if last and heard_at < last.heard_at:
        return "old"
    if user_status and heard_at <= user_status.last_activity_at:
        entered_at = _entered_at(world, user_id, user_status)
        return "old" if entered_at and heard_at < entered_at else "new"
    return "new"


def _entered_at(world: World, user_id: UUID, user_status: UserStatus) -> datetime | None:
    if user_status.state == "active":
        return None
    came_at = [
        row.created_at
        for row in world.audit_log
        if row.user_id == user_id and row.to_state == user_status.state
    ]
    return user_status.goodbye_sent_at or max(came_at, default=None)


def _trigger(user_status: UserStatus, text: str, heard_at: datetime) -> str | None:
    if user_status.state == "active":
        return None
    if user_status.state == "goodbye_sent":
        assert user_status.goodbye_sent_at
        if heard_at >= user_status.goodbye_sent_at:
            return ANSWERS.get(text, "user_message")
    return "user_message"


def _reply(trigger: str | None, *, opted_out: bool | None) -> str | None:
    if opted_out is not None:
        return "engagement.reply.opted_out" if opted_out else "engagement.reply.opted_in"
    return REPLIES.get(trigger or "")
