"""Why one user did, or did not, get a goodbye, and what comes next for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from engagement import histories, selectors
from engagement.conf import engagement_settings
from engagement.privacy import redact
from engagement.schedule import first_run_after, first_run_from
from engagement.selectors import SkipReason
from engagement.states import CHECK_OF, State, require_aware

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from engagement.histories import Message, Move, Standing
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


class Verdict(StrEnum):
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
class Outlook:
    """What comes next if the user does not write."""

    verdict: Verdict
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
    standing: Standing | None
    since: datetime | None
    """When they came into their state, as far as is known."""
    outlook: Outlook
    moves: tuple[Move, ...]
    messages: tuple[Message, ...]

    def as_json(self) -> dict[str, object]:
        """The explanation for programs."""
        standing, outlook = self.standing, self.outlook
        return {
            "user_id": str(self.user_id),
            "now": self.now.isoformat(),
            "state": standing and standing.state,
            "since": _iso(self.since),
            **{name: _iso(getattr(standing, name, None)) for name in histories.STATE_TIMES},
            "unreadable": list(standing.unreadable) if standing else [],
            "opted_out": standing and SkipReason.OPTED_OUT in standing.obstacles,
            "opt_out_changed_at": _iso(standing.opt_out_changed_at) if standing else None,
            "reachable": standing and SkipReason.NO_DESTINATION not in standing.obstacles,
            "verdict": outlook.verdict.value,
            "check": outlook.check and outlook.check.name,
            "obstacles": [reason.value for reason in outlook.obstacles],
            "next_run_at": _iso(outlook.next_run_at),
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
    standing = histories.read_standing(user_id)
    moves, messages = histories.read_moves(user_id), histories.read_messages(user_id)
    has_profile = histories.has_profile(user_id)
    if not (has_profile or moves or messages):
        raise UnknownUser(user_id)
    return Explanation(
        user_id=user_id,
        now=now,
        has_profile=has_profile,
        standing=standing,
        since=histories.since_when(standing, moves) if standing else None,
        outlook=outlook_of(user_id=user_id, standing=standing, now=now),
        moves=tuple(map(_told_move, moves)),
        messages=tuple(map(_told_message, messages)),
    )


def outlook_of(*, user_id: UUID, standing: Standing | None, now: datetime) -> Outlook:
    """What the daily job makes of a user who stands so at `now` (aware), asked of the job's own queries.

    Transaction: needs none, and only reads.
    """
    if standing is None:
        return Outlook(Verdict.NO_STATE)
    check = CHECK_OF.get(State(standing.state))
    if check is None:
        return Outlook(Verdict.NO_CHECK)
    policy = engagement_settings().policy
    obstacles = standing.obstacles if check.says_goodbye else ()
    next_run_at = _next_run_at(check, standing, now=now, policy=policy)
    if selectors.due(check, now=now, policy=policy).filter(user_id=user_id).exists():
        verdict = Verdict.UNREADABLE if standing.unreadable else Verdict.DUE
    elif selectors.past_cutoff(check, now=now, policy=policy).filter(user_id=user_id).exists():
        verdict = Verdict.SKIPPED
    else:
        verdict = Verdict.NOT_YET if next_run_at else Verdict.NEVER
    return Outlook(verdict, check, obstacles, next_run_at)


def _next_run_at(check: Check, standing: Standing, *, now: datetime, policy: Policy) -> datetime | None:
    due_at: datetime | None = getattr(standing, check.due_column)
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
