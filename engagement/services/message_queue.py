"""The message queue: queue, cancel, retry, expire. `delivery/` sends, `erasure` empties messages."""

from __future__ import annotations

import json
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from django.db import connection, transaction
from django.db.models import F, TextField, Value
from django.db.models.functions import Concat, Greatest
from uuid_utils import uuid7

from engagement.message_catalogue import check_message
from engagement.models import Destination, EngagementMessage, MessageInsert, MessageStatus, MessageType
from engagement.postgres import TextArrays
from engagement.services.arguments import (
    as_user_id,
    require_choice,
    require_storable,
    require_storable_params,
    require_storable_text,
)
from engagement.services.resilience.retries import retry_own_transaction
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet


WAIT_OVER: Final = "wait_over"
"""Why a timeout cancels a goodbye that is still pending."""
USER_WROTE: Final = "user_wrote"
OPTED_OUT: Final = "opted_out"
BY_STAFF: Final = "by_staff"
RUN_UNDONE: Final = "run_undone"
ERASED: Final = "erased"
"""Why else a pending message is cancelled."""
ERASED_KEY: Final = "erased:"
"""The beginning of the key of a message whose user was erased. The id of the message follows."""
EXPIRED_CLAIM: Final = "claim_expired"
"""The reason of messages that are unknown because their sender never reported an outcome."""


log = structlog.get_logger("engagement")


class Queued(NamedTuple):
    """The result of queueing messages."""

    ids: list[str]
    """An id for each message, in their order; that of its row, if it was queued."""
    rows: int
    """How many were queued. The keys of the others were taken: no row has their ids."""


class NewMessage(NamedTuple):
    """A message to be queued."""

    user_id: UUID | str
    message_type: MessageType
    message_key: str
    destination: Destination | str
    destination_jid: str
    scheduled_for: datetime
    idempotency_key: str
    """The first message that has a key keeps it for ever, whatever its status becomes; only undoing a run
    frees the key of an unsent message."""
    message_params: Mapping[str, object] = MappingProxyType({})


@retry_own_transaction
def queue_message(*, message: NewMessage, now: datetime) -> EngagementMessage | None:
    """Queue one message, with `now` as `created_at`. Returns None if its idempotency key is taken.

    Transaction: joins the caller's, or opens one. Repeatable.
    The user and the address are not checked: the sender takes the address that the profile has then, and
    cancels a message to a user without one.
    Raises UnknownMessageKey, WrongMessageParameters and WrongTranslation for a message that could not
    be rendered when it is sent; ValueError for a user's id that is no UUID, an empty idempotency key, an
    unknown type or destination, a time that is naive or not from 1970 to 2999, a parameter that is no JSON,
    and a text with NUL or half an emoji; TypeError for a parameter of a type that JSON lacks.
    """
    if not message.idempotency_key:
        raise ValueError("idempotency_key is empty; only one message could ever have it. Pass one for each.")
    message = message._replace(user_id=as_user_id(message.user_id))
    _require_storable(message, now=now)
    with transaction.atomic(savepoint=False):
        queued = _insert([message], now=now)
        return EngagementMessage.objects.get(pk=queued.ids[0]) if queued.rows else None


@retry_own_transaction
def queue_messages(*, messages: Iterable[NewMessage], now: datetime) -> Queued:
    """Queue many messages in one statement, except those whose idempotency key is taken.

    Transaction and repetition as for `queue_message`. Of two messages with one key, the first is queued.
    Raises what `queue_message` does, but IntegrityError and DataError for what only the database refuses,
    such as an unknown type.
    """
    return _insert(list(messages), now=now)


def cancel_pending(
    *, user_id: UUID, message_types: Collection[MessageType] = tuple(MessageType), reason: str | None = None
) -> int:
    """Cancel the user's pending messages of these types, for this reason; returns how many.

    Transaction: joins the caller's, or opens one. Waits for a sender that has one of them locked, and
    does not change what it has sent. Repeatable. A cancelled message keeps its key.
    """
    return _cancel(
        EngagementMessage.objects.filter(user_id=user_id, message_type__in=message_types), reason=reason
    )


def cancel_and_free_keys(*, message_ids: Collection[UUID]) -> None:
    """Cancel unsent messages and free their idempotency keys, in one statement.

    A message that was never sent cannot be sent twice, so another one may take its key. The cancelled
    message gets `:undone:` and its own id appended to its key.
    Transaction: needs the caller's, in which the messages were locked and seen to be unsent.
    """
    key = Concat(F("idempotency_key"), Value(":undone:"), F("id"), output_field=TextField())
    EngagementMessage.objects.filter(pk__any_of=message_ids).update(
        status=MessageStatus.CANCELLED, outcome_reason=RUN_UNDONE, idempotency_key=key
    )


@retry_own_transaction
def mark_expired_claims(*, now: datetime) -> int:
    """Make messages unknown whose sender has not reported an outcome in time; returns how many.

    They are never sent again by themselves: the sender may have died after it sent them.
    Transaction: opens one if there are any, or joins the caller's. Skips messages that others have locked.
    Repeatable.
    """
    expired = EngagementMessage.objects.filter(status=MessageStatus.SENDING, claim_expires_at__lt=now)
    # Read first, because there are hardly ever any.
    if not expired.exists():
        return 0
    with transaction.atomic():
        locked = expired.order_by("id").select_for_update(skip_locked=True, no_key=True)
        ids = list(locked.values_list("id", flat=True))
        EngagementMessage.objects.filter(pk__any_of=ids).update(
            status=MessageStatus.UNKNOWN, outcome_reason=EXPIRED_CLAIM
        )
    log.warning("engagement_claims_expired", messages=len(ids))
    return len(ids)


def cancel_unanswered(*, message_ids: Collection[UUID]) -> None:
    """Cancel pending goodbyes whose wait is over, with the reason `wait_over`; one statement.

    Transaction: needs the caller's, in which the messages were locked and seen to be pending.
    """
    EngagementMessage.objects.filter(pk__any_of=message_ids).update(
        status=MessageStatus.CANCELLED, outcome_reason=WAIT_OVER
    )


def revive_unanswered(*, message_ids: Collection[UUID]) -> None:
    """Make goodbyes that `cancel_unanswered` cancelled pending again; one statement.

    Transaction: needs the caller's, in which the messages were locked and seen to be cancelled so.
    """
    EngagementMessage.objects.filter(pk__any_of=message_ids).update(
        status=MessageStatus.PENDING, outcome_reason=None
    )


def cancel_messages(*, message_ids: Collection[UUID], reason: str | None = None) -> int:
    """Cancel those of the messages that are pending, for this reason; returns how many.

    Transaction and repetition as for `cancel_pending`.
    """
    return _cancel(EngagementMessage.objects.filter(pk__any_of=message_ids), reason=reason)


def retry_messages(*, message_ids: Collection[UUID], now: datetime) -> int:
    """Make failed messages pending again, scheduled for `now`; returns how many.

    The caller checks that they still make sense.
    Transaction: joins the caller's, or opens one. Repeatable: a pending message is not failed.
    A message keeps its idempotency key. Its `retry_count` is at least 1 then, which tells that a sender
    has tried it.
    """
    failed = EngagementMessage.objects.filter(pk__any_of=message_ids, status=MessageStatus.FAILED)
    return failed.update(
        status=MessageStatus.PENDING,
        scheduled_for=now,
        next_attempt_at=None,
        error_message=None,
        error_code=None,
        outcome_reason=None,
        retry_count=Greatest("retry_count", 1),
    )


def _cancel(messages: QuerySet[EngagementMessage], *, reason: str | None) -> int:
    pending = messages.filter(status=MessageStatus.PENDING).order_by("id")
    with transaction.atomic(savepoint=False):
        ids = list(pending.select_for_update(no_key=True).values_list("id", flat=True))
        cancelled = EngagementMessage.objects.filter(pk__any_of=ids)
        return cancelled.update(status=MessageStatus.CANCELLED, outcome_reason=reason) if ids else 0


def _insert(messages: Sequence[NewMessage], *, now: datetime) -> Queued:
    _check(messages)
    ids = [str(uuid7()) for _ in messages]
    # A batch has few different times: convert each of them once.
    written = cache(_written)
    rows = [
        MessageInsert(
            # Positional, in the order of the model's fields: Django takes twice as long with keywords.
            message_id,
            str(message.user_id),
            str(message.message_type),
            message.message_key,
            json.dumps(dict(message.message_params), allow_nan=False) if message.message_params else "{}",
            str(message.destination),
            message.destination_jid,
            written(message.scheduled_for),
            message.idempotency_key,
            written(now),
        )
        for message_id, message in zip(ids, messages, strict=True)
    ]
    written_rows = TextArrays()
    with connection.execute_wrapper(written_rows):
        MessageInsert.objects.bulk_create(rows, ignore_conflicts=True)
    return Queued(ids, written_rows.rows)


def _require_storable(message: NewMessage, *, now: datetime) -> None:
    require_choice(message.message_type, MessageType, name="message_type")
    require_choice(message.destination, Destination, name="destination")
    require_storable_text(message.destination_jid, name="destination_jid")
    require_storable_text(message.idempotency_key, name="idempotency_key")
    require_storable_params(message.message_params)
    require_storable(message.scheduled_for)
    require_storable(now)


def _written(moment: datetime) -> str:
    require_aware(moment)
    return moment.isoformat()


def _check(messages: Sequence[NewMessage]) -> None:
    # Check each kind once: thousands of goodbyes are alike.
    kinds = {(message.message_key, frozenset(message.message_params)) for message in messages}
    for key, params in sorted(kinds, key=str):
        check_message(key=key, params=params)
