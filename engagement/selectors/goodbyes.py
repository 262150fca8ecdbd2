"""The goodbye of a user's present wait, and whether it reached them. Nothing here writes.

Rules: docs/delivery.md. `goodbye_sent_at` is the identity of a wait and never moves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db.models import Count, Max
from django.db.models.functions import TruncHour

from engagement.models import EngagementMessage, MessageStatus, MessageType, UserEngagementState
from engagement.postgres import native_times
from engagement.selectors import audit_log
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from uuid import UUID

    from django.db.models import Q, QuerySet

    from engagement.states import UserState

LIVING: Final = (MessageStatus.PENDING, MessageStatus.SENDING, MessageStatus.UNKNOWN, MessageStatus.SENT)
"""The statuses of a goodbye that has reached the user, or still may."""


class GoodbyeFate(StrEnum):
    """Whether the user was sent the goodbye of a wait."""

    NEVER_SENT = "never_sent"
    PERHAPS_SENT = "perhaps_sent"
    SENT = "sent"


class Goodbye(NamedTuple):
    """A goodbye, as far as the rules look at it."""

    id: UUID
    user_id: UUID
    idempotency_key: str
    status: str
    retry_count: int
    created_at: datetime
    claimed_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None

    @property
    def failed_after_sending(self) -> bool:
        """Whether a receipt said that the message failed, and none that it arrived."""
        return self.failed_at is not None and self.delivered_at is None and self.read_at is None

    @property
    def was_tried(self) -> bool:
        """Whether a sender has tried it, so that it may have reached the user."""
        tried = {MessageStatus.SENDING, MessageStatus.UNKNOWN, MessageStatus.SENT, MessageStatus.FAILED}
        return self.status in tried or self.sent_at is not None or self.retry_count > 0


def goodbye_key(user_id: UUID | str, *, now: datetime) -> str:
    """`{user_id}:goodbye_sent:{YYYY-MM-DD}`, with the UTC date of `now`."""
    return f"{user_id}:goodbye_sent:{now.astimezone(UTC).date().isoformat()}"


def has_dead_key(user_id: UUID, *, now: datetime) -> bool:
    """Whether the key of a goodbye at `now` belongs to a cancelled or failed message."""
    taken = EngagementMessage.objects.filter(idempotency_key=goodbye_key(user_id, now=now))
    return taken.exclude(status__in=LIVING).exists()


def goodbyes_with_keys(keys: Collection[str], *, lock: bool = False) -> list[Goodbye]:
    """The goodbyes that have these idempotency keys, in the order of their ids.

    With `lock` they are locked, in a transaction of the caller's.
    """
    messages = EngagementMessage.objects.filter(idempotency_key__any_of=keys).order_by("id")
    if lock:
        messages = messages.select_for_update(no_key=True)
    return _read(messages)


def free_goodbyes(condition: Q, *, lock: bool) -> list[Goodbye]:
    """Pending and cancelled goodbyes that no other session has locked, in the order of their ids.

    With `lock` they are locked, in a transaction of the caller's.
    """
    unsent = EngagementMessage.objects.filter(
        condition, status__in=(MessageStatus.PENDING, MessageStatus.CANCELLED)
    ).order_by("id")
    if lock:
        unsent = unsent.select_for_update(skip_locked=True, no_key=True)
    return _read(unsent)


def _read(messages: QuerySet[EngagementMessage]) -> list[Goodbye]:
    with native_times():
        return [Goodbye(*row) for row in messages.values_list(*Goodbye._fields)]


def goodbyes_of_waits(user_states: Iterable[UserState], *, lock: bool = False) -> dict[UUID, Goodbye]:
    """By user: the goodbye of their present wait. Users without such a message are missing.

    That is the message with the key of the day on which the wait began; if there is none, the user's
    newest goodbye since then. Two statements at most.
    """
    waiting = {state.user_id: state for state in user_states if state.goodbye_sent_at is not None}
    keys = [
        goodbye_key(user_id, now=state.goodbye_sent_at)
        for user_id, state in waiting.items()
        if state.goodbye_sent_at
    ]
    found = {goodbye.user_id: goodbye for goodbye in goodbyes_with_keys(keys, lock=lock)}
    missing = {user_id: state for user_id, state in waiting.items() if user_id not in found}
    return found | _newest_since(missing, lock=lock) if missing else found


def is_goodbye_of_wait(message: EngagementMessage, user_state: UserState) -> bool:
    """Whether a message is the goodbye of its user's present wait."""
    began_at = user_state.goodbye_sent_at
    if began_at and message.idempotency_key == goodbye_key(user_state.user_id, now=began_at):
        return True
    goodbye = goodbyes_of_waits([user_state]).get(user_state.user_id)
    return goodbye is not None and goodbye.id == message.pk


def _newest_since(waiting: Mapping[UUID, UserState], *, lock: bool) -> dict[UUID, Goodbye]:
    messages = EngagementMessage.objects.filter(
        user_id__any_of=waiting.keys(), message_type=MessageType.GOODBYE
    ).order_by("id")
    if lock:
        messages = messages.select_for_update(no_key=True)
    newest: dict[UUID, Goodbye] = {}
    for goodbye in _read(messages):
        began_at, known = waiting[goodbye.user_id].goodbye_sent_at, newest.get(goodbye.user_id)
        is_of_wait = began_at is not None and goodbye.created_at >= began_at
        if is_of_wait and (known is None or goodbye.created_at >= known.created_at):
            newest[goodbye.user_id] = goodbye
    return newest


def is_ours(provider_message_id: str, user_id: UUID) -> bool:
    """Whether the provider's id names a message of the queue to this user."""
    return EngagementMessage.objects.filter(provider_message_id=provider_message_id, user_id=user_id).exists()


def is_id_of(provider_message_id: str, goodbye: Goodbye | None) -> bool | None:
    """Whether the provider's id names this goodbye, or another message: ours, or the assistant's own.

    None if nobody knows: an id that no row has may be the goodbye's, if its own is unknown because the answer
    was lost, or if it was tried more than once; a row keeps the id of one attempt.
    """
    named = EngagementMessage.objects.filter(provider_message_id=provider_message_id)
    ids = set(named.values_list("id", flat=True))
    if ids:
        return goodbye is not None and goodbye.id in ids
    if goodbye is None:
        return None
    tried_once = EngagementMessage.objects.filter(
        pk=goodbye.id, provider_message_id__isnull=False, retry_count=0
    )
    return False if tried_once.exists() else None


def fate_of(goodbye: Goodbye | None) -> GoodbyeFate:
    """Whether the user was sent this goodbye. Without a row, a sender may have deleted what it sent."""
    if goodbye is None or goodbye.status in {MessageStatus.SENDING, MessageStatus.UNKNOWN}:
        return GoodbyeFate.PERHAPS_SENT
    if goodbye.status == MessageStatus.SENT:
        return GoodbyeFate.NEVER_SENT if goodbye.failed_after_sending else GoodbyeFate.SENT
    is_in_doubt = goodbye.status != MessageStatus.FAILED and goodbye.retry_count > 0
    return GoodbyeFate.PERHAPS_SENT if is_in_doubt else GoodbyeFate.NEVER_SENT


def last_sent_at(user_state: UserState, goodbye: Goodbye | None) -> datetime | None:
    """The second in which the user was sent their last goodbye; None if they were not.

    `goodbye` is that of the present wait, if they wait. Without a row, a sender may have deleted what it
    sent: then it counts from the begin of the wait.
    """
    began_at = user_state.goodbye_sent_at
    if began_at is None:
        began_at = audit_log.entered_at(user_state.user_id, State.GOODBYE_SENT)
        if began_at is None:
            return None
        former = user_state._replace(goodbye_sent_at=began_at)
        goodbye = goodbyes_of_waits([former]).get(user_state.user_id)
    if fate_of(goodbye) is GoodbyeFate.NEVER_SENT:
        return None
    sent_at = (goodbye and (goodbye.claimed_at or goodbye.sent_at)) or began_at
    return sent_at.replace(microsecond=0)


def answerable_from(user_state: UserState, goodbye: Goodbye | None) -> datetime | None:
    """The second from which a reply answers the goodbye of the wait. None if the user was not sent it.

    Without a row, a sender may have deleted what it sent: then replies count from `goodbye_sent_at` on.
    """
    if user_state.goodbye_sent_at is None:
        return None
    if goodbye is None:
        return user_state.goodbye_sent_at.replace(microsecond=0)
    was_sent = goodbye.status in LIVING and goodbye.status != MessageStatus.PENDING
    if not was_sent or goodbye.failed_after_sending:
        return None
    sent_at = goodbye.claimed_at or goodbye.sent_at or user_state.goodbye_sent_at
    return sent_at.replace(microsecond=0)


def goodbyes_by_end_of_wait() -> list[tuple[datetime, int]]:
    """How many users wait for a goodbye that is still to be sent, by the hour in which their wait ends.

    With the last end of each hour, in order.
    """
    pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING, message_type=MessageType.GOODBYE)
    waiting = UserEngagementState.objects.filter(
        state=State.GOODBYE_SENT, goodbye_expires_at__isnull=False, user_id__in=pending.values("user_id")
    )
    hours = waiting.values(hour=TruncHour("goodbye_expires_at", tzinfo=UTC))
    ends = hours.annotate(end=Max("goodbye_expires_at"), users=Count("pk"))
    return sorted(ends.values_list("end", "users"))
