"""What the tables hold about one user. Read only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q

from engagement.models import (
    VISIBLE,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.due_users import GOODBYE_CONDITIONS
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from engagement.states import SkipReason

STATE_TIMES: Final = ("last_activity_at", "goodbye_sent_at", "goodbye_expires_at", "remind_at")


class UserStatus(NamedTuple):
    """A state row, and what keeps goodbyes from its user."""

    state: str
    created_at: datetime
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None
    obstacles: tuple[SkipReason, ...]
    """The conditions of a goodbye that do not hold, whether or not one is due."""


class Consent(NamedTuple):
    """What a profile says of goodbyes."""

    opted_out: bool
    opt_out_changed_at: datetime | None
    """Null where another program has opted the user out."""
    updated_at: datetime
    is_reachable: bool


class TransitionRecord(NamedTuple):
    """A row of the audit log, for people to read."""

    created_at: datetime
    from_state: str
    to_state: str
    trigger: str
    metadata: Any
    """A dict, unless another program has written something else."""

    @property
    def performed_by(self) -> str:
        """The staff account that moved the user, or what another program wrote there; else empty."""
        return performer(self.metadata)

    @property
    def is_manual(self) -> bool:
        """Whether a staff account marked the user as active. No other transition is manual."""
        is_return = self.trigger == Trigger.USER_MESSAGE and self.to_state == State.ACTIVE
        return is_return and bool(self.performed_by)


class MessageRecord(NamedTuple):
    """A message without its address and its text."""

    message_type: str
    status: str
    created_at: datetime
    scheduled_for: datetime
    sent_at: datetime | None
    error_message: str | None
    outcome_reason: str | None
    error_code: str | None
    next_attempt_at: datetime | None
    claimed_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None


def performer(metadata: Any) -> str:
    """The staff account that the metadata of a transition names; else empty."""
    # Another program may have written metadata of any shape.
    return str(metadata.get("performed_by") or "") if isinstance(metadata, dict) else ""


def has_profile(user_id: UUID) -> bool:
    """Whether the user has a profile."""
    return UserProfile.objects.filter(user_id=user_id).exists()


def read_consent(user_id: UUID) -> Consent | None:
    """What the user's profile says of goodbyes, also without a state row; None without a profile."""
    is_reachable = ExpressionWrapper(Q(whatsapp_jid__regex=VISIBLE), output_field=BooleanField())
    columns = ("reengagement_opt_out", "opt_out_changed_at", "updated_at")
    row = UserProfile.objects.filter(user_id=user_id).values_list(*columns, is_reachable).first()
    if row is None:
        return None
    opted_out, changed_at, updated_at, reachable = row
    # Null without an address.
    return Consent(opted_out, changed_at, updated_at, is_reachable=bool(reachable))


def read_user_status(user_id: UUID) -> UserStatus | None:
    """The user's state row and obstacles; None without a state row."""
    columns = ("state", "created_at", *STATE_TIMES)
    conditions = [ExpressionWrapper(holds, output_field=BooleanField()) for _, holds in GOODBYE_CONDITIONS]
    row = UserEngagementState.objects.filter(user_id=user_id).values_list(*columns, *conditions).first()
    if row is None:
        return None
    held = zip(GOODBYE_CONDITIONS, row[len(columns) :], strict=True)
    obstacles = tuple(condition.skip_reason for condition, holds in held if not holds)
    return UserStatus._make((*row[: len(columns)], obstacles))


def read_transitions(user_id: UUID, *, latest: int | None = None) -> list[TransitionRecord]:
    """The user's history, or its `latest` transitions, oldest first."""
    rows = EngagementStateTransition.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    return [TransitionRecord(*row) for row in rows.values_list(*TransitionRecord._fields)[:latest]][::-1]


def read_messages(user_id: UUID) -> list[MessageRecord]:
    """The user's messages, oldest first."""
    rows = EngagementMessage.objects.filter(user_id=user_id).order_by("created_at", "id")
    return [MessageRecord(*row) for row in rows.values_list(*MessageRecord._fields)]


def in_state_since(user_status: UserStatus, transitions: Sequence[TransitionRecord]) -> datetime | None:
    """When the user entered their state: from the latest transition if it agrees, else from the state row.

    None where another program has changed the state without an audit row.
    """
    if transitions and transitions[-1].to_state == user_status.state:
        return transitions[-1].created_at
    if user_status.state == State.GOODBYE_SENT:
        return user_status.goodbye_sent_at
    if user_status.state != State.ACTIVE or transitions:
        return None
    # Every user starts as active. A row that was loaded is younger than their activity.
    return min(user_status.created_at, user_status.last_activity_at)
