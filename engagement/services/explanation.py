"""Why one user did, or did not, get a goodbye, and what comes next for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from engagement.conf import engagement_settings
from engagement.privacy import redact
from engagement.schedule import first_run_after, first_run_from
from engagement.selectors import due_users, user_history
from engagement.selectors.due_users import SkipReason
from engagement.states import CHECK_OF, State, require_aware

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from engagement.selectors.user_history import Message, Move, UserStatus
    from engagement.states import Check, Policy

TOLD_OF_A_MOVE: Final = (
    "trigger_source",
    "days_inactive",
    "response_type",
    "hours_waited",
    "unprompted_return",
    "job_id",
    "undone_job_id",
    "performed_by",
)
"""What of a move's metadata is passed on."""


class NextStepKind(StrEnum):
    """What the next run makes of a user."""

    DUE = "due"
    """It moves them."""
    NOT_YET = "not_yet"
    """Their time has not come."""
    SKIPPED = "skipped"
    """Their time has come, but they opted out or cannot be reached."""
    UNREADABLE = "unreadable"
    """Their time has come, but their row holds a time that no program in Python can read."""
    NEVER = "never"
    """Their time lies where no calendar reaches."""
    NO_CHECK = "no_check"
    """No check looks at their state: only a message from them changes it."""
    NO_STATE = "no_state"
    """They have no state row, which their first message makes."""


class UnknownUser(Exception):
    """No table knows anything of the user."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}, and there never was: no table knows the id.")
        self.user_id = user_id


@dataclass(frozen=True, slots=True)
class NextStep:
    """What comes next if the user does not write."""

    verdict: NextStepKind
    check: Check | None = None
    """The check that looks at their state."""
    obstacles: tuple[SkipReason, ...] = ()
    """What keeps that check from moving them, now or when their time comes."""
    next_run_at: datetime | None = None
    """The first scheduled run at which their time has come; no earlier run moves them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to say of one user; no address is in it."""

    user_id: UUID
    now: datetime
    has_profile: bool
    user_status: UserStatus | None
    since: datetime | None
    """When they came into their state, as far as is known."""
    next_step: NextStep
    moves: tuple[Move, ...]
    messages: tuple[Message, ...]

    def as_json(self) -> dict[str, object]:
        """The explanation for programs."""
        user_status, next_step = self.user_status, self.next_step
        return {
            "user_id": str(self.user_id),
            "now": self.now.isoformat(),
            "state": user_status and user_status.state,
            "since": _iso(self.since),
            **{name: _iso(getattr(user_status, name, None)) for name in user_history.STATE_TIMES},
            "unreadable": list(user_status.unreadable) if user_status else [],
            "opted_out": user_status and SkipReason.OPTED_OUT in user_status.obstacles,
            "opt_out_changed_at": _iso(user_status.opt_out_changed_at) if user_status else None,
            "reachable": user_status and SkipReason.NO_DESTINATION not in user_status.obstacles,
            "verdict": next_step.verdict.value,
            "check": next_step.check and next_step.check.name,
            "obstacles": [reason.value for reason in next_step.obstacles],
            "next_run_at": _iso(next_step.next_run_at),
            "moves": [_move_json(move) for move in self.moves],
            "messages": [_message_json(message) for message in self.messages],
        }


def explain_user(*, user_id: UUID, now: datetime) -> Explanation:
    """What is known of a user and what the daily job makes of them at `now` (aware).

    The verdict is asked of the very queries that the job asks.
    Transaction: needs none, and only reads; what changes meanwhile may be told from both sides.
    Raises UnknownUser, and ValueError for a naive `now`.
    """
    require_aware(now)
    user_status = user_history.read_user_status(user_id)
    moves, messages = user_history.read_transitions(user_id), user_history.read_messages(user_id)
    has_profile = user_history.has_profile(user_id)
    if not (has_profile or moves or messages):
        raise UnknownUser(user_id)
    return Explanation(
        user_id=user_id,
        now=now,
        has_profile=has_profile,
        user_status=user_status,
        since=user_history.since_when(user_status, moves) if user_status else None,
        next_step=next_step_of(user_id=user_id, user_status=user_status, now=now),
        moves=tuple(map(_told_move, moves)),
        messages=tuple(map(_told_message, messages)),
    )


def next_step_of(*, user_id: UUID, user_status: UserStatus | None, now: datetime) -> NextStep:
    """What the daily job makes of a user who stands so at `now` (aware), asked of the job's own queries.

    Transaction: needs none, and only reads.
    """
    if user_status is None:
        return NextStep(NextStepKind.NO_STATE)
    check = CHECK_OF.get(State(user_status.state))
    if check is None:
        return NextStep(NextStepKind.NO_CHECK)
    policy = engagement_settings().policy
    obstacles = user_status.obstacles if check.sends_goodbye else ()
    next_run_at = _next_run_at(check, user_status, now=now, policy=policy)
    if due_users.due(check, now=now, policy=policy).filter(user_id=user_id).exists():
        verdict = NextStepKind.UNREADABLE if user_status.unreadable else NextStepKind.DUE
    elif due_users.past_cutoff(check, now=now, policy=policy).filter(user_id=user_id).exists():
        verdict = NextStepKind.SKIPPED
    else:
        verdict = NextStepKind.NOT_YET if next_run_at else NextStepKind.NEVER
    return NextStep(verdict, check, obstacles, next_run_at)


def _next_run_at(check: Check, user_status: UserStatus, *, now: datetime, policy: Policy) -> datetime | None:
    due_at: datetime | None = getattr(user_status, check.due_column)
    if due_at is None:
        return None
    try:
        return max(first_run_after(check.due_after(due_at, policy=policy)), first_run_from(now))
    except OverflowError:
        return None


def _told_move(move: Move) -> Move:
    """The move, with what may be told of it."""
    # Other programs may have put anything into their metadata, an address or a list.
    known: dict[str, Any] = move.metadata if isinstance(move.metadata, dict) else {}
    told = {key: _redacted(value) for key, value in known.items() if key in TOLD_OF_A_MOVE}
    return move._replace(metadata=told)


def _told_message(message: Message) -> Message:
    return message._replace(error_message=_redacted(message.error_message))


def _redacted(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


def _move_json(move: Move) -> dict[str, object]:
    return {
        "at": _iso(move.created_at),
        "from_state": move.from_state,
        "to_state": move.to_state,
        "trigger": move.trigger,
        **move.metadata,
    }


def _message_json(message: Message) -> dict[str, object]:
    return {
        "message_type": message.message_type,
        "status": message.status,
        "created_at": _iso(message.created_at),
        "scheduled_for": _iso(message.scheduled_for),
        "sent_at": _iso(message.sent_at),
        "error": message.error_message,
    }


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
