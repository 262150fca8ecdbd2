"""The rules: states, triggers, the ten transitions, the three checks. Pure: no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypedDict

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)


class State(TextChoices):
    """The state of a user."""

    ACTIVE = "active", pgettext_lazy("user", "active")
    GOODBYE_SENT = "goodbye_sent", pgettext_lazy("user", "waiting for reply")
    HELP_FLOW = "help_flow", pgettext_lazy("user", "getting help")
    REMIND_LATER = "remind_later", pgettext_lazy("user", "reminder set")
    DORMANT = "dormant", pgettext_lazy("user", "dormant")


class Trigger(TextChoices):
    """What happened to a user."""

    INACTIVITY_14D = "inactivity_14d", _("inactivity")
    USER_MESSAGE = "user_message", _("message from the user")
    GOODBYE_RESPONSE_1 = "goodbye_response_1", _("reply 1: confused")
    GOODBYE_RESPONSE_2 = "goodbye_response_2", _("reply 2: busy")
    GOODBYE_RESPONSE_3 = "goodbye_response_3", _("reply 3: all good")
    GOODBYE_TIMEOUT = "goodbye_timeout", _("no reply to the goodbye")
    REMINDER_DUE = "reminder_due", _("reminder due")
    RUN_UNDONE = "run_undone", _("run undone")


class SkipReason(StrEnum):
    """Why a user who has been silent for long enough gets no goodbye."""

    OPTED_OUT = "opted_out"
    NO_DESTINATION = "no_destination"


TRANSITIONS: Final[Mapping[tuple[State, Trigger], State]] = MappingProxyType(
    {
        (State.ACTIVE, Trigger.INACTIVITY_14D): State.GOODBYE_SENT,
        (State.GOODBYE_SENT, Trigger.USER_MESSAGE): State.ACTIVE,
        (State.GOODBYE_SENT, Trigger.GOODBYE_RESPONSE_1): State.HELP_FLOW,
        (State.GOODBYE_SENT, Trigger.GOODBYE_RESPONSE_2): State.REMIND_LATER,
        (State.GOODBYE_SENT, Trigger.GOODBYE_RESPONSE_3): State.DORMANT,
        (State.GOODBYE_SENT, Trigger.GOODBYE_TIMEOUT): State.DORMANT,
        (State.HELP_FLOW, Trigger.USER_MESSAGE): State.ACTIVE,
        (State.REMIND_LATER, Trigger.USER_MESSAGE): State.ACTIVE,
        (State.REMIND_LATER, Trigger.REMINDER_DUE): State.DORMANT,
        (State.DORMANT, Trigger.USER_MESSAGE): State.ACTIVE,
    }
)

RESPONSE_TYPES: Final[Mapping[Trigger, str]] = MappingProxyType(
    {
        Trigger.GOODBYE_RESPONSE_1: "confused",
        Trigger.GOODBYE_RESPONSE_2: "busy",
        Trigger.GOODBYE_RESPONSE_3: "all_good",
        Trigger.GOODBYE_TIMEOUT: "timeout",
    }
)
"""The `response_type` of the triggers that end the wait for a reply."""


class InvalidTransition(Exception):
    """The state machine has no transition for this trigger from this state. Nothing has changed."""

    def __init__(self, *, user_id: UUID, state: State, trigger: Trigger) -> None:
        super().__init__(f"User {user_id} is {state.value}: there is no transition for {trigger.value}.")
        self.user_id = user_id
        self.state = state
        self.trigger = trigger


@dataclass(frozen=True, slots=True)
class Policy:
    """The four periods of the rules."""

    inactivity: timedelta = 14 * DAY
    goodbye_wait: timedelta = 48 * HOUR
    remind_after: timedelta = 14 * DAY
    unprompted_return_after: timedelta = 3 * DAY


ANY_POLICY: Final = Policy()
"""Where the periods make no difference."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the daily job: it moves users in `state` whose `due_column` is before a cutoff."""

    trigger: Trigger
    state: State
    due_column: str
    sends_goodbye: bool = False

    @property
    def name(self) -> str:
        return self.trigger.value

    def cutoff_at(self, *, now: datetime, policy: Policy) -> datetime:
        """The cutoff: a user is due if `due_column` is strictly before it."""
        return now - self._wait(policy)

    def due_after(self, due_at: datetime, *, policy: Policy) -> datetime:
        """The instant strictly after which a user whose `due_column` is `due_at` is due."""
        return due_at + self._wait(policy)

    def _wait(self, policy: Policy) -> timedelta:
        return policy.inactivity if self.trigger is Trigger.INACTIVITY_14D else timedelta(0)


CHECKS: Final[tuple[Check, ...]] = (
    Check(Trigger.INACTIVITY_14D, State.ACTIVE, "last_activity_at", sends_goodbye=True),
    Check(Trigger.GOODBYE_TIMEOUT, State.GOODBYE_SENT, "goodbye_expires_at"),
    Check(Trigger.REMINDER_DUE, State.REMIND_LATER, "remind_at"),
)
"""The checks, in the order in which a run makes them."""

CHECK_OF: Final[Mapping[State, Check]] = MappingProxyType({check.state: check for check in CHECKS})
"""The check that ends a state. A state without one ends only with a message from the user."""

OPERATOR: Final = "operator"
"""The `trigger_source` where a person acted."""

TRIGGER_SOURCES: Final[Mapping[Trigger, str]] = MappingProxyType(
    {check.trigger: "scheduler" for check in CHECKS} | {Trigger.RUN_UNDONE: OPERATOR}
)
"""The `trigger_source` of a trigger; `user_message` for the others."""

TARGETS: Final[Mapping[Trigger, State]] = MappingProxyType(
    {trigger: target for (_, trigger), target in TRANSITIONS.items()}
)
"""The state that each trigger leads to, from any state. RUN_UNDONE has none: it restores the former state."""


def require_aware(now: datetime) -> None:
    """Raise ValueError for a datetime without an offset, and for what is no datetime."""
    if not isinstance(now, datetime):
        raise ValueError(f"A time must be a datetime, not a {type(now).__name__}.")  # noqa: TRY004
    if now.utcoffset() is None:
        raise ValueError(f"{now!r} has no offset; pass an aware datetime, such as timezone.now().")


class StateColumns(Protocol):
    """The columns of a state row that the rules of undo and of the audit log use."""

    @property
    def state(self) -> str: ...
    @property
    def last_activity_at(self) -> datetime: ...
    @property
    def goodbye_sent_at(self) -> datetime | None: ...
    @property
    def goodbye_expires_at(self) -> datetime | None: ...
    @property
    def remind_at(self) -> datetime | None: ...


class UserState(NamedTuple):
    """The columns of a user's state row that the rules use."""

    user_id: UUID
    state: str
    last_activity_at: datetime
    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None


class ReceivedMessage(NamedTuple):
    """What the audit log keeps of a message that moved its author. Never the text."""

    received_at: datetime
    text_digest: str
    """Distinguishes two messages of the same second, and identifies a message that is received again."""

    def heard_at(self, *, now: datetime) -> datetime:
        """When it was received, but never later than `now`: the sender's clock may be ahead."""
        return min(self.received_at, now)


class Transition(NamedTuple):
    """A row of the audit log: one user moved from one state to another."""

    id: UUID
    user_id: UUID
    from_state: str
    to_state: str
    trigger: str
    metadata: dict[str, object]
    created_at: datetime


class Timestamps(TypedDict):
    """The columns that each belong to one state."""

    goodbye_sent_at: datetime | None
    goodbye_expires_at: datetime | None
    remind_at: datetime | None


def next_state(user_state: UserState, trigger: Trigger) -> State | None:
    """The state that `trigger` leads to; None for a message from an active user, who stays active.

    Raises InvalidTransition if the table has no such transition.
    """
    state = State(user_state.state)
    if state is State.ACTIVE and trigger is Trigger.USER_MESSAGE:
        return None
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise InvalidTransition(user_id=user_state.user_id, state=state, trigger=trigger) from None


def timestamps_on_entering(state: State, *, now: datetime, policy: Policy) -> Timestamps:
    """The three timestamps on entering `state`: those of the state are set, the others cleared."""
    sends_goodbye = state is State.GOODBYE_SENT
    return Timestamps(
        goodbye_sent_at=now if sends_goodbye else None,
        goodbye_expires_at=now + policy.goodbye_wait if sends_goodbye else None,
        remind_at=now + policy.remind_after if state is State.REMIND_LATER else None,
    )


def transition_metadata(
    user_state: StateColumns,
    trigger: Trigger,
    *,
    now: datetime,
    policy: Policy,
    dormant_since: datetime | None = None,
    message: ReceivedMessage | None = None,
) -> dict[str, object]:
    """The metadata of the audit row.

    Days and hours are whole and never negative. `former_timestamps` has the values that the transition
    overwrites, as ISO 8601, so that it can be undone. `received_at` and `text_digest` identify the
    message that caused the transition, so that the same message is recognised when it comes again.
    """
    metadata: dict[str, object] = {
        "days_inactive": _whole(now - user_state.last_activity_at, DAY),
        "trigger_source": TRIGGER_SOURCES.get(trigger, "user_message"),
    }
    response_type = RESPONSE_TYPES.get(trigger)
    if response_type and user_state.goodbye_sent_at:
        waited = now - user_state.goodbye_sent_at
        metadata["response_type"] = response_type
        metadata["hours_waited"] = _whole(waited, HOUR)
        metadata["days_since_goodbye"] = _whole(waited, DAY)
    if dormant_since and now - dormant_since >= policy.unprompted_return_after:
        metadata["unprompted_return"] = True
    if former := _former_timestamps(user_state):
        metadata["former_timestamps"] = former
    if message:
        metadata["received_at"] = message.received_at.astimezone(UTC).isoformat()
        metadata["text_digest"] = message.text_digest
    return metadata


def still_as_left(user_state: StateColumns, *, in_state: str, at: datetime) -> bool:
    """Whether a user's state row is still as a transition to `in_state` left it, which happened at `at`.

    Does not compare when a goodbye ends: the period is a setting, which may have changed since.
    """
    if user_state.state != in_state:
        return False
    left = timestamps_on_entering(State(in_state), now=at, policy=ANY_POLICY)
    return (
        user_state.goodbye_sent_at == left["goodbye_sent_at"]
        and user_state.remind_at == left["remind_at"]
        and (user_state.goodbye_expires_at is None or left["goodbye_expires_at"] is not None)
    )


def _whole(period: timedelta, unit: timedelta) -> int:
    return max(period // unit, 0)


def _former_timestamps(user_state: StateColumns) -> dict[str, str]:
    columns = ("goodbye_sent_at", "goodbye_expires_at", "remind_at")
    values = (user_state.goodbye_sent_at, user_state.goodbye_expires_at, user_state.remind_at)
    return {
        column: value.isoformat() for column, value in zip(columns, values, strict=True) if value is not None
    }
