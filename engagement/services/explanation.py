"""Why one user did, or did not, get a goodbye, and what comes next for them. Read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final

from engagement.conf import engagement_settings
from engagement.privacy import redact
from engagement.schedule import NextStep, NextStepKind, first_run_after, first_run_from, iso_text
from engagement.selectors import goodbyes, user_history
from engagement.states import CHECK_OF, DAY, State, require_aware

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.selectors.user_history import Consent, MessageRecord, TransitionRecord, UserStatus

SHOWN_METADATA: Final = (
    "trigger_source",
    "days_inactive",
    "response_type",
    "hours_waited",
    "goodbye",
    "unprompted_return",
    "job_id",
    "undone_job_id",
    "performed_by",
)
"""The metadata of a transition that an explanation includes."""


class UnknownUser(Exception):
    """No table has a row of the user."""

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}: no table has this id.")
        self.user_id = user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known about one user, without any address."""

    user_id: UUID
    now: datetime
    consent: Consent | None
    """None without a profile."""
    user_status: UserStatus | None
    since: datetime | None
    """When the user entered their state, if that is known."""
    next_step: NextStep
    transitions: tuple[TransitionRecord, ...]
    messages: tuple[MessageRecord, ...]

    @property
    def has_profile(self) -> bool:
        return self.consent is not None

    def as_json(self) -> dict[str, object]:
        """The explanation with the keys that docs/reference.md lists."""
        status, consent, next_step = self.user_status, self.consent, self.next_step
        return {
            "user_id": str(self.user_id),
            "now": self.now.isoformat(),
            "state": status and status.state,
            "since": iso_text(self.since),
            **{name: iso_text(getattr(status, name, None)) for name in user_history.STATE_TIMES},
            "unreadable": [],
            "opted_out": consent and consent.opted_out,
            "opt_out_changed_at": iso_text(consent.opt_out_changed_at) if consent else None,
            "reachable": consent and consent.is_reachable,
            "verdict": next_step.verdict.value,
            "check": next_step.check and next_step.check.name,
            "obstacles": [reason.value for reason in next_step.obstacles],
            "next_run_at": iso_text(next_step.next_run_at),
            "moves": [_transition_json(transition) for transition in self.transitions],
            "messages": [_message_json(message) for message in self.messages],
        }


def explain_user(*, user_id: UUID, now: datetime) -> Explanation:
    """Explain what the daily job does with a user at `now` (aware), and what happened to them before.

    Transaction: none needed; concurrent changes may be seen in part. Read only, so repeatable.
    Raises UnknownUser, and ValueError for a naive `now`.
    """
    require_aware(now)
    user_status = user_history.read_user_status(user_id)
    transitions, messages = user_history.read_transitions(user_id), user_history.read_messages(user_id)
    consent = user_history.read_consent(user_id)
    if not (consent or transitions or messages):
        raise UnknownUser(user_id)
    return Explanation(
        user_id=user_id,
        now=now,
        consent=consent,
        user_status=user_status,
        since=user_history.in_state_since(user_status, transitions) if user_status else None,
        next_step=next_step_of(user_status=user_status, user_id=user_id, now=now),
        transitions=tuple(row._replace(metadata=_shown_metadata(row.metadata)) for row in transitions),
        messages=tuple(_without_numbers(row) for row in messages),
    )


def next_step_of(*, user_status: UserStatus | None, user_id: UUID, now: datetime) -> NextStep:
    """What the daily job does next with a user who has this status at `now` (aware), by the job's own rules.

    A user who is due, but whose goodbye key of today is taken by a message that is not sent, waits for the
    next day. Transaction: none. Reads the settings, and that key. Read only, so repeatable.
    """
    if user_status is None:
        return NextStep(NextStepKind.NO_STATE)
    check = CHECK_OF.get(State(user_status.state))
    if check is None:
        return NextStep(NextStepKind.NO_CHECK)
    settings = engagement_settings()
    due_after = check.due_after(getattr(user_status, check.due_column), policy=settings.policy)
    obstacles = user_status.obstacles if check.sends_goodbye else ()
    run_time = settings.run_time
    next_run_at = max(first_run_after(due_after, run_time=run_time), first_run_from(now, run_time=run_time))
    if due_after >= now:
        return NextStep(NextStepKind.NOT_YET, check, obstacles, next_run_at)
    if obstacles:
        return NextStep(NextStepKind.SKIPPED, check, obstacles, next_run_at)
    if check.sends_goodbye and goodbyes.has_dead_key(user_id, now=now):
        tomorrow = datetime.combine(now.astimezone(UTC) + DAY, time.min, tzinfo=UTC)
        return NextStep(NextStepKind.NOT_YET, check, (), first_run_from(tomorrow, run_time=run_time))
    return NextStep(NextStepKind.DUE, check, (), next_run_at)


def _shown_metadata(metadata: Any) -> dict[str, Any]:
    # Another program may have written metadata of any shape, or an address into it.
    known = metadata if isinstance(metadata, dict) else {}
    return {key: _redacted(known[key]) for key in SHOWN_METADATA if key in known}


def _redacted(value: Any) -> Any:
    return redact(value) if isinstance(value, str) else value


def _without_numbers(message: MessageRecord) -> MessageRecord:
    # Another program may have written an address into it.
    return message._replace(
        error_message=_redacted(message.error_message),
        outcome_reason=_redacted(message.outcome_reason),
        error_code=_redacted(message.error_code),
    )


def _transition_json(transition: TransitionRecord) -> dict[str, object]:
    return {
        "at": iso_text(transition.created_at),
        "from_state": transition.from_state,
        "to_state": transition.to_state,
        "trigger": transition.trigger,
        **transition.metadata,
    }


def _message_json(message: MessageRecord) -> dict[str, object]:
    return {
        "message_type": message.message_type,
        "status": message.status,
        "created_at": iso_text(message.created_at),
        "scheduled_for": iso_text(message.scheduled_for),
        "sent_at": iso_text(message.sent_at),
        "error": message.error_message,
        "outcome_reason": message.outcome_reason,
        "error_code": message.error_code,
        "next_attempt_at": iso_text(message.next_attempt_at),
        "claimed_at": iso_text(message.claimed_at),
        "delivered_at": iso_text(message.delivered_at),
        "read_at": iso_text(message.read_at),
        "failed_at": iso_text(message.failed_at),
    }
