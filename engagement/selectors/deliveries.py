"""What the sender and its watch read of the queue: due messages, pauses, counts. Nothing here writes."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import connection
from django.db.models import Count, F, Max, Min, Q
from django.db.models.functions import Coalesce

from engagement.models import (
    IN_DOUBT,
    EngagementMessage,
    MessageStatus,
    MessageType,
    SendingChannel,
    UserProfile,
)
from engagement.states import UserState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    Read = Callable[[Callable[[], "list[Candidate]"]], "list[Candidate]"]

PAGE_SIZE: Final = 50
REPLY_AGAIN: Final = timedelta(seconds=10)
"""How soon a reply that was not sent, but is due, is tried again in the same pass."""

WAITING_HOURS: Final = "waiting_hours"
WAITING_CAP: Final = "waiting_cap"
WAITING_PAUSE: Final = "waiting_pause"
WAITING_ALLOW_LIST: Final = "waiting_allow_list"
CANNOT_BE_CLAIMED: Final = "cannot_be_claimed"
"""Why the sender holds a pending message back, in its `outcome_reason`."""

NOT_DELIVERED: Final = Q(failed_at__isnull=False, delivered_at__isnull=True, read_at__isnull=True)
"""Of sent messages: a receipt said that the message failed, and none that it arrived."""

DUE_AT: Final = Coalesce("next_attempt_at", "scheduled_for")
"""When a pending message is to be sent, as the sender's index has it."""


class Candidate(NamedTuple):
    """A message that was due when it was read. Nothing is locked."""

    due_at: datetime
    id: UUID
    user_id: UUID
    message_type: str


class Share(NamedTuple):
    """The part of the queue that one of several workers takes first, so that they do not meet."""

    number: int = 0
    of: int = 1

    def includes(self, candidate: Candidate) -> bool:
        return candidate.id.int % self.of == self.number

    def passes(self) -> list[Share]:
        """First the own share, then what the others have left."""
        return [self, EVERYTHING] if self.of > 1 else [EVERYTHING]


EVERYTHING: Final = Share()


class SentCounts(NamedTuple):
    """What a watch asks of the queue."""

    oldest_due_at: datetime | None
    """Since when the oldest due message waits, late or not."""
    unknown: int
    not_delivered: int
    unclaimable: int
    """Pending messages that the database did not let a sender claim."""
    last_sent_at: datetime | None


class QueuedMessage(NamedTuple):
    """A message and its user, with the columns that the sender looks at."""

    message: EngagementMessage
    profile: UserProfile | None
    user_state: UserState | None


def database_now() -> datetime:
    """The database's clock. The senders of several machines agree on it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        ((now,),) = cursor.fetchall()
    instant: datetime = now
    return instant


def clock_and_channels(backend: str) -> tuple[datetime, dict[str, SendingChannel]]:
    """The database's clock, and the backend's channels by scope, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CLOCK_AND_CHANNELS, [backend])
        rows = cursor.fetchall()
    channels = [SendingChannel.from_db(None, _CHANNEL_COLUMNS, row[1:]) for row in rows if row[1] is not None]
    return rows[0][0], {channel.scope: channel for channel in channels}


def queued_message(candidate: Candidate, *, lock: bool) -> QueuedMessage | None:
    """Read a message and its user, in one statement.

    With `lock` the rows are locked, in a transaction of the caller's.
    Returns None if the message is gone, or, with `lock`, if another session has locked one of the rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _QUEUED_MESSAGE.format(lock="FOR NO KEY UPDATE SKIP LOCKED" if lock else ""),
            {"user_id": candidate.user_id, "message_id": candidate.id},
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    params, *values = rows[0]
    message = EngagementMessage.from_db(None, _MESSAGE_COLUMNS, values[:_PROFILE_AT])
    message.message_params = json.loads(params)
    profile, user_state = values[_PROFILE_AT:_STATE_AT], values[_STATE_AT:]
    return QueuedMessage(
        message,
        UserProfile.from_db(None, _PROFILE_COLUMNS, profile) if profile[0] else None,
        UserState(*user_state) if user_state[0] else None,
    )


_CHANNEL_COLUMNS: Final = ("id", "scope", "paused_until", "pause_reason", "next_slot_at", "resumed_at")
_CLOCK_AND_CHANNELS: Final = f"""
    SELECT clock.now, {", ".join(f"channel.{column}" for column in _CHANNEL_COLUMNS)}
    FROM (SELECT clock_timestamp() AS now) AS clock
        LEFT JOIN engagement_sending_channels AS channel ON channel.backend = %s
"""  # noqa: S608  our own columns
# In the order of the models' fields, as `from_db` takes them.
_MESSAGE_COLUMNS: Final = (
    "id",
    "message_type",
    "message_key",
    "destination_jid",
    "scheduled_for",
    "idempotency_key",
    "created_at",
    "user_id",
    "status",
    "attempt_id",
    "next_attempt_at",
)
_PROFILE_COLUMNS: Final = ("user_id", "whatsapp_jid", "locale", "time_zone", "reengagement_opt_out")
_PROFILE_AT: Final = len(_MESSAGE_COLUMNS)
_STATE_AT: Final = _PROFILE_AT + len(_PROFILE_COLUMNS)
_QUEUED_MESSAGE: Final = f"""
    WITH user_state AS MATERIALIZED (
        SELECT * FROM user_engagement_states WHERE user_id = %(user_id)s {{lock}}
    ), profile AS MATERIALIZED (
        SELECT * FROM user_profiles WHERE user_id = %(user_id)s {{lock}}
    ), message AS MATERIALIZED (
        SELECT * FROM engagement_message_queue WHERE id = %(message_id)s {{lock}}
    )
    SELECT
        message.message_params,
        {", ".join(f"message.{column}" for column in _MESSAGE_COLUMNS)},
        {", ".join(f"profile.{column}" for column in _PROFILE_COLUMNS)},
        {", ".join(f"user_state.{column}" for column in UserState._fields)}
    FROM message LEFT JOIN profile ON true LEFT JOIN user_state ON true
    -- A row that exists and was not read is locked by another session.
    WHERE (profile.user_id IS NOT NULL
            OR NOT EXISTS (SELECT FROM user_profiles WHERE user_id = %(user_id)s))
        AND (user_state.user_id IS NOT NULL
            OR NOT EXISTS (SELECT FROM user_engagement_states WHERE user_id = %(user_id)s))
"""  # noqa: S608  our own columns


def due_messages(types: Collection[MessageType], *, now: datetime) -> QuerySet[EngagementMessage]:
    """Pending messages of these types whose time has come."""
    due = EngagementMessage.objects.alias(due_at=DUE_AT).filter(status=MessageStatus.PENDING, due_at__lte=now)
    return due if set(types) == set(MessageType) else due.filter(message_type__in=types)


def candidates(
    types: Sequence[MessageType], *, clock: Callable[[], datetime], read: Read, share: Share = EVERYTHING
) -> Iterator[Candidate]:
    """The due messages of a share, longest waiting first; replies that become due meanwhile before others.

    `read` calls each query, such as in a transaction with a deadline.
    """
    replies = _Replies(types, clock=clock, read=read)
    others = [kind for kind in types if kind != MessageType.REPLY]
    last: Candidate | None = None
    while True:
        yield from filter(share.includes, replies.due())
        page = read(partial(_page, others, now=clock(), after=last)) if others else []
        if not page:
            return
        for candidate in filter(share.includes, page):
            yield from filter(share.includes, replies.due_by_now())
            yield candidate
        last = page[-1]


class _Replies:
    """The due replies. One that stays due, or is due again, comes again after a while.

    A pass over a paced queue takes hours, and a reply may be sent for a day only.
    """

    def __init__(self, types: Sequence[MessageType], *, clock: Callable[[], datetime], read: Read) -> None:
        self._types = [kind for kind in types if kind == MessageType.REPLY]
        self._clock = clock
        self._read = read
        self._tried_at: dict[UUID, datetime] = {}
        self._looked_at = time.monotonic()

    def due_by_now(self) -> Iterator[Candidate]:
        """Those that are new, if the last look was a second ago: it costs as much as a claim."""
        if time.monotonic() - self._looked_at >= 1:
            yield from self.due()

    def due(self) -> Iterator[Candidate]:
        self._looked_at = time.monotonic()
        last: Candidate | None = None
        while self._types:
            now = self._clock()
            page = self._read(partial(_page, self._types, now=now, after=last))
            if not page:
                return
            for reply in page:
                tried_at = self._tried_at.get(reply.id)
                if tried_at is None or now - tried_at >= REPLY_AGAIN:
                    self._tried_at[reply.id] = now
                    yield reply
            last = page[-1]


def _page(types: Sequence[MessageType], *, now: datetime, after: Candidate | None) -> list[Candidate]:
    due = due_messages(types, now=now).alias(due_at=DUE_AT)
    if after:
        due = due.filter(Q(due_at__gt=after.due_at) | Q(due_at=after.due_at, id__gt=after.id))
    columns = ("id", "user_id", "message_type")
    rows = due.order_by("due_at", "id").annotate(due=F("due_at")).values_list("due", *columns)[:PAGE_SIZE]
    return [Candidate(*row) for row in rows]


def status_of(message_id: UUID) -> str | None:
    """The status of a message; None if there is none."""
    return EngagementMessage.objects.filter(pk=message_id).values_list("status", flat=True).first()


def channels_of(backend: str) -> dict[str, SendingChannel]:
    """By scope: the backend's channels."""
    return {channel.scope: channel for channel in SendingChannel.objects.filter(backend=backend)}


def pauses(*, now: datetime) -> list[SendingChannel]:
    """The channels that are paused at `now`."""
    return list(SendingChannel.objects.filter(paused_until__gt=now).order_by("backend", "scope"))


def is_whole_paused(backend: str, pauses: Collection[SendingChannel]) -> bool:
    """Whether one of these pauses is of the whole backend."""
    return any(channel.backend == backend and not channel.scope for channel in pauses)


def long_waits(*, until: datetime) -> list[SendingChannel]:
    """The channels whose provider has asked to wait beyond `until`."""
    return list(SendingChannel.objects.filter(slowed_until__gt=until).order_by("backend"))


def leased_for(request_id: UUID, *, backend: str) -> QuerySet[EngagementMessage]:
    """The messages that one request of a client was given, however they ended."""
    return EngagementMessage.objects.filter(lease_request_id=request_id, backend=backend)


def people_sent_to(*, since: datetime) -> int:
    """How many people were sent something that they had not asked for, since then."""
    people: int = _sent_unasked(since).aggregate(people=Count("user_id", distinct=True))["people"]
    return people


def last_claims_of_people(*, since: datetime) -> list[datetime]:
    """When each person was last sent something that they had not asked for, since then. Sorted."""
    people = _sent_unasked(since).values("user_id").annotate(last=Max("claimed_at"))
    return sorted(people.values_list("last", flat=True))


def _sent_unasked(since: datetime) -> QuerySet[EngagementMessage]:
    sent = EngagementMessage.objects.filter(claimed_at__gte=since).exclude(message_type=MessageType.REPLY)
    return sent.filter(status__in=(*IN_DOUBT, MessageStatus.SENT))


def oldest_due_at(types: Collection[MessageType], *, now: datetime) -> datetime | None:
    """Since when the oldest due message of these types waits. One that the sender holds back is not due."""
    oldest: datetime | None = due_messages(types, now=now).aggregate(oldest=Min(DUE_AT))["oldest"]
    return oldest


def claimed_since(since: datetime, *, types: Collection[MessageType]) -> int:
    """How many messages of these types were claimed since then and not given back untried."""
    return EngagementMessage.objects.filter(claimed_at__gte=since, message_type__in=types).count()


def backends_since(since: datetime) -> list[str]:
    """The names of the backends that have claimed messages since then."""
    claimed = EngagementMessage.objects.filter(claimed_at__gte=since)
    names = claimed.values_list("backend", flat=True).order_by().distinct()
    return sorted(name for name in names if name)


def unknown_messages(*, backend: str, claimed_before: datetime) -> list[UUID]:
    """The messages of a backend with an unknown outcome, claimed before then."""
    unknown = EngagementMessage.objects.filter(status=MessageStatus.UNKNOWN, backend=backend)
    return list(unknown.filter(claimed_at__lt=claimed_before).order_by("id").values_list("id", flat=True))


def last_send_at() -> datetime | None:
    """When a message that was sent was last claimed."""
    sent = EngagementMessage.objects.filter(claimed_at__isnull=False, status=MessageStatus.SENT)
    last: datetime | None = sent.aggregate(last=Max("claimed_at"))["last"]
    return last


def sent_counts(types: Collection[MessageType], *, now: datetime) -> SentCounts:
    """What `check_sending` looks at."""
    unknown = EngagementMessage.objects.filter(
        status=MessageStatus.UNKNOWN, claimed_at__gte=now - timedelta(days=7)
    )
    recent = EngagementMessage.objects.filter(claimed_at__gte=now - timedelta(days=1))
    sent = recent.filter(status=MessageStatus.SENT).aggregate(not_delivered=Count("pk", filter=NOT_DELIVERED))
    return SentCounts(
        oldest_due_at=oldest_due_at(types, now=now),
        unknown=unknown.count(),
        not_delivered=sent["not_delivered"],
        unclaimable=EngagementMessage.objects.filter(
            status=MessageStatus.PENDING, outcome_reason=CANNOT_BE_CLAIMED
        ).count(),
        last_sent_at=last_send_at(),
    )
