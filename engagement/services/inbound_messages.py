"""Inbound messages: what the assistant calls for every message of a user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from engagement import message_catalogue
from engagement.conf import engagement_settings
from engagement.models import Destination, InboundMessage, MessageType
from engagement.replies import (
    REPLY_TO_ANSWER,
    REPLY_TO_PREFERENCE,
    Preference,
    preference_in,
    trigger_of,
)
from engagement.selectors import audit_log, goodbyes
from engagement.selectors.addresses import address_of
from engagement.services.arguments import as_user_id, require_storable, require_text
from engagement.services.message_novelty import Author, Novelty, lock_author
from engagement.services.message_queue import USER_WROTE, NewMessage, cancel_pending, queue_message
from engagement.services.preferences import PreferenceChange, PreferenceSource, set_preference
from engagement.services.resilience.retries import retry_own_transaction
from engagement.services.state_machine import transition_states
from engagement.states import ReceivedMessage, State, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from engagement.selectors.goodbyes import Goodbye
    from engagement.states import UserState

KEPT: Final = timedelta(days=8)
"""How long the id of a message is kept. WhatsApp repeats a message for up to seven days."""

_DIGEST_LENGTH: Final = 16
"""Hexadecimal digits: enough to distinguish the messages of one user in one second."""
_FORGOTTEN_AT_ONCE: Final = 20
"""How many expired ids a new message deletes: more than arrive meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundResult:
    """The effect of a message, and the reply to it."""

    novelty: Novelty
    transition: Transition | None
    """The transition that the message caused; for a repeat, the one that it caused the first time."""
    preference: Preference | None
    """The preference that the message set. None if it sets none, or if a later one is known."""
    reply_key: str | None
    """The key of the message to reply with."""
    reply_params: Mapping[str, object]
    """The parameters of that message."""
    cancelled: int
    """How many pending messages were cancelled."""


@retry_own_transaction
def receive_message(
    *,
    user_id: UUID | str,
    text: str,
    received_at: datetime,
    now: datetime,
    message_id: str | None = None,
    button_of: str | None = None,
) -> InboundResult:
    """Process one message of a user: move them, cancel a pending goodbye, choose the reply.

    `message_id` is the messenger's id of the message, such as WhatsApp's `wamid`. It identifies the message
    for eight days, and is kept as a keyed digest. A message without one is identified by its time and text.
    `button_of` is the messenger's id of the message whose button was pressed. A button of another message
    than the goodbye is no reply to the goodbye, and one of a message that is not in the queue opts nobody in.

    Transaction: opens one, or joins the caller's. Locks the state row, then the profile if the text
    opts out or in, then messages; waits for these locks.
    Repeatable: the same message again changes nothing, and gets the same reply if it has an id, or if it
    caused the user's latest transition. A message that arrives after newer ones moves nobody, and cancels
    a goodbye only if the user is active; it sets a preference only if no later one is known.
    Time: the transition is dated `now`, but never before the user entered their state. The user was
    active at `received_at`, or at `now` if the clock behind `received_at` is ahead. A message received
    before the goodbye was sent is not a reply to it, unless it is its button; the user counts as active since
    that goodbye, so that the next one does not come too soon.
    Raises EngagementStateNotFound for a user without a profile; ValueError for a `user_id` that is no UUID,
    a `text` that is no string, an empty `message_id`, and a time that is naive or not from 1970 to 2999.
    Changes nothing then.
    """
    user_id = as_user_id(user_id)
    require_text(text)
    require_storable(received_at)
    require_storable(now)
    if message_id == "":
        raise ValueError("message_id is empty; pass the messenger's id of the message, or None.")
    digests = _digests(user_id, text if message_id is None else f"id:{message_id}")
    message, *under_former_keys = (
        ReceivedMessage(received_at, digest[:_DIGEST_LENGTH]) for digest in digests
    )
    heard_at = message.heard_at(now=now)
    with transaction.atomic():
        author = lock_author(user_id, heard_at=heard_at)
        if message_id is not None and (earlier := _earlier_result(digests)):
            return earlier
        novelty = author.novelty_of(message, *under_former_keys, now=now)
        has_id = message_id is not None
        result = _take(
            author, text, novelty=novelty, message=message, button_of=button_of, has_id=has_id, now=now
        )
        if has_id:
            _remember(user_id, result, digest=digests[0], heard_at=heard_at, now=now)
    return result


def _take(
    author: Author,
    text: str,
    *,
    novelty: Novelty,
    message: ReceivedMessage,
    button_of: str | None,
    has_id: bool,
    now: datetime,
) -> InboundResult:
    """Do what the message asks for, and choose the reply."""
    user_id = author.user_state.user_id
    transition = author.last_transition if novelty is Novelty.REPEAT else None
    if novelty is Novelty.NEW:
        transition = _move(author, text, message=message, button_of=button_of, now=now)
    wish = _wish_in(text, button_of=button_of, user_id=user_id)
    change = _set_preference(user_id, wish, said_at=message.heard_at(now=now), now=now)
    preference, cancelled = wish if change.is_applied else None, change.cancelled
    is_active = author.user_state.state == State.ACTIVE
    if novelty is Novelty.NEW or (novelty is Novelty.OLD and is_active):
        cancelled += cancel_pending(user_id=user_id, message_types=[MessageType.GOODBYE], reason=USER_WROTE)
    # Without an id nobody knows whether a repeat was a change the first time, and it must get the same reply.
    is_news = change.is_change or not has_id
    reply_key, reply_params = _reply(transition, preference if is_news else None)
    return InboundResult(
        novelty=novelty,
        transition=transition,
        preference=preference,
        reply_key=reply_key,
        reply_params=reply_params,
        cancelled=cancelled,
    )


@retry_own_transaction
def receive_and_reply(
    *,
    user_id: UUID | str,
    text: str,
    received_at: datetime,
    now: datetime,
    message_id: str | None = None,
    button_of: str | None = None,
) -> InboundResult:
    """Process one message as `receive_message` does, and queue the reply if there is one.

    The sender sends a reply at any hour, also to a user who has opted out. A repeated message queues
    nothing.
    Transaction, repetition and errors as for `receive_message`. The message and its reply commit together.
    """
    user_id = as_user_id(user_id)
    with transaction.atomic():
        result = receive_message(
            user_id=user_id,
            text=text,
            received_at=received_at,
            now=now,
            message_id=message_id,
            button_of=button_of,
        )
        if result.reply_key and result.novelty is not Novelty.REPEAT:
            reply = NewMessage(
                user_id=user_id,
                message_type=MessageType.REPLY,
                message_key=result.reply_key,
                message_params=result.reply_params,
                destination=Destination.INDIVIDUAL,
                destination_jid=address_of(user_id),
                # Its age counts from the message that it answers.
                scheduled_for=min(received_at, now),
                idempotency_key=_reply_key(user_id, text, received_at=received_at, message_id=message_id),
            )
            queue_message(message=reply, now=now)
    return result


def _reply_key(user_id: UUID, text: str, *, received_at: datetime, message_id: str | None) -> str:
    """The idempotency key of the reply to a message, by what identifies the message."""
    identity = f"{received_at.astimezone(UTC).isoformat()}:{text}" if message_id is None else message_id
    return f"reply:{_digests(user_id, f'reply:{identity}')[0]}"


def _earlier_result(digests: Sequence[str]) -> InboundResult | None:
    """What the message did the first time. The author's state row is locked, so it is not in progress."""
    row = InboundMessage.objects.filter(digest__in=digests).first()
    if row is None:
        return None
    return InboundResult(
        novelty=Novelty.REPEAT,
        transition=audit_log.transition_with_id(row.transition_id) if row.transition_id else None,
        preference=Preference(row.preference) if row.preference else None,
        reply_key=row.reply_key,
        reply_params=row.reply_params,
        cancelled=0,
    )


def _remember(
    user_id: UUID, result: InboundResult, *, digest: str, heard_at: datetime, now: datetime
) -> None:
    """Keep the id of a message, and delete a few that are kept no longer."""
    InboundMessage.objects.create(
        digest=digest,
        user_id=user_id,
        received_at=heard_at,
        transition_id=result.transition.id if result.transition else None,
        preference=result.preference,
        reply_key=result.reply_key,
        reply_params=dict(result.reply_params),
        created_at=now,
    )
    expired = InboundMessage.objects.filter(created_at__lt=now - KEPT).order_by("created_at")
    some = expired.select_for_update(skip_locked=True, no_key=True)[:_FORGOTTEN_AT_ONCE]
    InboundMessage.objects.filter(pk__in=list(some.values_list("pk", flat=True))).delete()


def _move(
    author: Author, text: str, *, message: ReceivedMessage, button_of: str | None, now: datetime
) -> Transition | None:
    user_state = author.user_state
    goodbye = goodbyes.goodbyes_of_waits([user_state]).get(user_state.user_id)
    heard_at = message.heard_at(now=now)
    answerable_from = goodbyes.answerable_from(user_state, goodbye)
    if button_of is not None and answerable_from:
        is_of_goodbye = goodbyes.is_id_of(button_of, goodbye)
        if is_of_goodbye:
            # The button was there to be pressed, whatever the clocks say.
            answerable_from = min(answerable_from, heard_at)
        elif is_of_goodbye is False:
            answerable_from = None
    trigger = trigger_of(text, state=user_state.state, heard_at=heard_at, answerable_from=answerable_from)
    # The clock was read before the lock was there: the user may have entered their state since.
    moved_at = max(now, author.entered_at or now)
    transitions = transition_states(
        user_states=[user_state],
        trigger=trigger,
        now=moved_at,
        policy=engagement_settings().policy,
        message=message,
        heard_at=_active_at(user_state, goodbye, heard_at=heard_at, now=now),
    )
    return transitions[0] if transitions else None


def _active_at(
    user_state: UserState, goodbye: Goodbye | None, *, heard_at: datetime, now: datetime
) -> datetime:
    """From when the user's silence counts.

    That is a goodbye that they were sent while the message was under way: the next one keeps its distance.
    """
    if user_state.state == State.ACTIVE:
        return heard_at
    sent_at = goodbyes.last_sent_at(user_state, goodbye) or heard_at
    return min(max(sent_at, heard_at), now)


def _wish_in(text: str, *, button_of: str | None, user_id: UUID) -> Preference | None:
    """The preference that the text expresses.

    A button of a message that is not ours, such as a menu of the assistant, opts nobody in: its text may be
    an id that the user does not see. Opting out counts however it is said.
    """
    wish = preference_in(text, preferences=engagement_settings().preferences)
    if wish is Preference.OPTED_IN and button_of is not None and not goodbyes.is_ours(button_of, user_id):
        return None
    return wish


def _set_preference(
    user_id: UUID, wish: Preference | None, *, said_at: datetime, now: datetime
) -> PreferenceChange:
    """Opt the user out or in, if they wish it and no later preference is known."""
    if wish is None:
        return PreferenceChange(is_applied=False, cancelled=0)
    return set_preference(
        user_id=user_id, preference=wish, said_at=said_at, now=now, source=PreferenceSource.MESSAGE
    )


def _reply(
    transition: Transition | None, preference: Preference | None
) -> tuple[str | None, Mapping[str, object]]:
    """The key and the parameters of the reply."""
    if preference:
        return REPLY_TO_PREFERENCE[preference], {}
    key = REPLY_TO_ANSWER.get(transition.trigger) if transition else None
    if key != message_catalogue.SEE_YOU_IN_TWO_WEEKS:
        return key, {}
    days = engagement_settings().policy.remind_after.days
    return (key, {"days": days}) if days > 1 else (message_catalogue.SEE_YOU_TOMORROW, {})


def _digests(user_id: UUID, words: str) -> list[str]:
    """Digests per user, from which nobody can look up the words: under the secret key, and former ones."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    spoken = f"{user_id}:{words}".encode("utf-8", "surrogatepass")
    return [
        salted_hmac("engagement.inbound", spoken, secret=key, algorithm="sha256").hexdigest() for key in keys
    ]
