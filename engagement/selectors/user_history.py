"""What the tables know of one user, and of the moves of one run. Nothing here writes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db.models import BooleanField, Case, ExpressionWrapper, F, Q, When

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.due_users import GOODBYE_CONDITIONS, SkipReason
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

FIRST_INSTANT: Final = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT: Final = datetime.max.replace(tzinfo=UTC)

STATE_TIMES: Final = ("last_activity_at", "goodbye_sent_at", "goodbye_expires_at", "remind_at")


class UserStatus(NamedTuple):
    """A state row, and what keeps goodbyes from its user."""

    state: str
    created_at: datetime | None
    profile_updated_at: datetime | None
    opt_out_changed_at: datetime | None
    """Null where another program has opted the user out."""
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None
    unreadable: tuple[str, ...]
    """Columns that hold a time which Python cannot, such as 'infinity'; their values here are None."""
    obstacles: tuple[SkipReason, ...]
    """The conditions of a goodbye that do not hold, whether or not one is due."""


_COLUMNS: Final = len(UserStatus._fields) - 2
"""How many fields are columns, in this order."""


class Move(NamedTuple):
    """A row of the audit log, for people to read."""

    created_at: datetime
    from_state: str
    to_state: str
    trigger: str
    metadata: Any

    @property
    def performed_by(self) -> str:
        """Who moved the user, or what another program wrote in their place."""
        return performer(self.metadata)

    @property
    def is_manual(self) -> bool:
        """Whether somebody brought the user back: nothing else is moved by hand."""
        is_return = self.trigger == Trigger.USER_MESSAGE and self.to_state == State.ACTIVE
        return is_return and bool(self.performed_by)


class Message(NamedTuple):
    """What a message is for, and what became of it; not where it goes, nor what it says."""

    message_type: str
    status: str
    created_at: datetime | None
    scheduled_for: datetime | None
    sent_at: datetime | None
    error_message: str | None


class QueuedMessage(NamedTuple):
    """A message, as far as taking it back is concerned."""

    id: UUID
    idempotency_key: str
    status: str
    sent_at: datetime | None


def performer(metadata: Any) -> str:
    """Who stands in the metadata of a move as the one who made it."""
    # Other programs may have put anything there.
    return str(metadata.get("performed_by") or "") if isinstance(metadata, dict) else ""


def has_profile(user_id: UUID) -> bool:
    """Whether there is such a user."""
    return UserProfile.objects.filter(user_id=user_id).exists()


def read_user_status(user_id: UUID) -> UserStatus | None:
    """The user's state row, if they have one."""
    rows = UserEngagementState.objects.filter(user_id=user_id).values_list(
        "state",
        *map(_readable, ("created_at", "user__updated_at", "user__opt_out_changed_at", *STATE_TIMES)),
        *map(_is_unreadable, STATE_TIMES),
        *(_is_true(condition.holds) for condition in GOODBYE_CONDITIONS),
    )
    return _user_status(*rows[0]) if rows else None


def read_transitions(user_id: UUID, *, latest: int | None = None) -> list[Move]:
    """The user's history, or its `latest` moves, the first move first."""
    rows = EngagementStateTransition.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    columns = (_readable("created_at"), "from_state", "to_state", "trigger", "metadata")
    return [Move(*row) for row in rows.values_list(*columns)[:latest]][::-1]


def read_messages(user_id: UUID) -> list[Message]:
    """The user's messages, the first one first."""
    rows = EngagementMessage.objects.filter(user_id=user_id).order_by("created_at", "id")
    times = map(_readable, ("created_at", "scheduled_for", "sent_at"))
    return [Message(*row) for row in rows.values_list("message_type", "status", *times, "error_message")]


def since_when(user_status: UserStatus, moves: Sequence[Move]) -> datetime | None:
    """When the user came to stand there: by their `moves`, if the latest agrees, else by the row itself.

    None where another program moved them and told nobody.
    """
    if moves and moves[-1].to_state == user_status.state:
        return moves[-1].created_at
    if user_status.state == State.GOODBYE_SENT:
        return user_status.goodbye_sent_at
    # Everybody is active to begin with.
    return user_status.created_at if user_status.state == State.ACTIVE and not moves else None


def messages_of(keys: Collection[str]) -> QuerySet[EngagementMessage]:
    """The messages that have these idempotency keys, in one order for everybody."""
    return EngagementMessage.objects.filter(idempotency_key__in=keys).order_by("id")


def read_queued(messages: QuerySet[EngagementMessage]) -> list[QueuedMessage]:
    """Read (and with a locking queryset, lock) what taking messages back needs."""
    return [QueuedMessage(*row) for row in messages.values_list(*QueuedMessage._fields)]


def _user_status(*row: Any) -> UserStatus:
    columns, flags = row[:_COLUMNS], row[_COLUMNS:]
    is_unreadable, holds = flags[: len(STATE_TIMES)], flags[len(STATE_TIMES) :]
    reasons = [condition.skip_reason for condition in GOODBYE_CONDITIONS]
    unreadable = tuple(compress(STATE_TIMES, is_unreadable))
    return UserStatus._make((*columns, unreadable, tuple(compress(reasons, map(not_, holds)))))


def _readable(column: str) -> Case:
    """The column's time, or null where Python's calendar does not reach."""
    return Case(When(**{f"{column}__range": (FIRST_INSTANT, LAST_INSTANT)}, then=F(column)))


def _is_unreadable(column: str) -> ExpressionWrapper[Q]:
    is_set = Q(**{f"{column}__isnull": False})
    return _is_true(is_set & ~Q(**{f"{column}__range": (FIRST_INSTANT, LAST_INSTANT)}))


def _is_true(condition: Q) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(condition, output_field=BooleanField())
