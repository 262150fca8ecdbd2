"""Writes the messages of an activity log as their authors wrote them: through the services."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from engagement.models import UserEngagementState, UserProfile
from engagement.replay.activity_log import DEFAULT_LOCALE
from engagement.replay.simulation import ORDINARY_TEXT
from engagement.replies import Preference
from engagement.services.inbound_messages import receive_message
from engagement.services.message_novelty import Novelty
from engagement.services.preferences import set_preference
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from engagement.replay.period import Message

ROWS_PER_STATEMENT: Final = 2_000


def add_profiles(messages: Iterable[Message]) -> None:
    """Add the profile of each author, as their first message describes it."""
    profiles = [
        UserProfile(
            user_id=user_id,
            locale=event.locale or DEFAULT_LOCALE,
            whatsapp_jid=event.whatsapp_jid,
            reengagement_opt_out=bool(event.reengagement_opt_out),
            created_at=event.occurred_at,
            updated_at=event.occurred_at,
        )
        for user_id, event, previous in messages
        if previous is None
    ]
    UserProfile.objects.bulk_create(profiles, batch_size=ROWS_PER_STATEMENT)


def receive_all(messages: Iterable[Message]) -> int:
    """Receive messages through the services; returns how many of them made a user active again.

    Each comes after the changes that the log newly has of its author. A value that the log repeats is no
    change, so an opt-out by text outlasts an old value in the column.
    """
    returns = 0
    for user_id, event, previous in messages:
        now = event.occurred_at
        if previous and (event.locale, event.whatsapp_jid) != (previous.locale, previous.whatsapp_jid):
            profile = UserProfile.objects.filter(pk=user_id)
            locale = event.locale or DEFAULT_LOCALE
            profile.update(locale=locale, whatsapp_jid=event.whatsapp_jid, updated_at=now)
        if previous and bool(event.reengagement_opt_out) != bool(previous.reengagement_opt_out):
            preference = Preference.OPTED_OUT if event.reengagement_opt_out else Preference.OPTED_IN
            set_preference(user_id=user_id, preference=preference, now=now)
        text = event.text or ORDINARY_TEXT
        result = receive_message(user_id=user_id, text=text, received_at=now, now=now)
        if result.novelty is Novelty.NEW and result.transition:
            returns += result.transition.to_state == State.ACTIVE
    return returns


def latest(history: Sequence[Message]) -> Iterator[Message]:
    """The last message of each user, with what has changed since the first: no other has an effect."""
    first: dict[UUID, Message] = {}
    last: dict[UUID, Message] = {}
    for message in history:
        first.setdefault(message.user_id, message)
        last[message.user_id] = message
    for user_id, message in last.items():
        yield message if message.previous is None else message._replace(previous=first[user_id].event)


def settle(messages: Iterable[Message]) -> None:
    """Let the users of former times have written. A message that changes nothing else needs no service."""
    plain: list[Message] = []
    others: list[Message] = []
    for message in messages:
        (plain if _is_plain(message) else others).append(message)
    states = [
        UserEngagementState(
            user_id=message.user_id,
            last_activity_at=message.event.occurred_at,
            updated_at=message.event.occurred_at,
        )
        for message in plain
    ]
    UserEngagementState.objects.bulk_create(states, batch_size=ROWS_PER_STATEMENT)
    receive_all(others)


def _is_plain(message: Message) -> bool:
    first = message.previous or message.event
    return message.event.text is None and message.event == replace(
        first, occurred_at=message.event.occurred_at, text=None
    )
