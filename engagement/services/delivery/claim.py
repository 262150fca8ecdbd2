"""Claiming one message: lock, check again, and commit it as `sending` before the first byte leaves.

Locks, in this order: the user's state row, the profile, the message. Rows that another session has locked
are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
from django.db import connection

from engagement import message_catalogue
from engagement.message_backends.base import OutgoingMessage
from engagement.models import MessageStatus, MessageType
from engagement.selectors import deliveries, goodbyes
from engagement.services.delivery.attempts import CLOCK_SKEW
from engagement.services.delivery.recheck import NO_PROFILE, Cancel, Facts, Hold, Limits, recheck
from engagement.services.preferences import REENGAGEMENT, remember_opt_out
from engagement.services.resilience.transactions import in_transaction
from engagement.services.state_machine import extend_wait
from engagement.services.suppression import is_suppressed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.models import EngagementMessage, SendingChannel, UserProfile
    from engagement.selectors.deliveries import Candidate
    from engagement.services.delivery.attempts import Attempt
    from engagement.services.delivery.settings import DeliverySettings

CANNOT_BE_RENDERED: Final = "cannot_be_rendered"
CAP_PERIOD: Final = timedelta(hours=24)
_CAP_LOCK: Final = 0x656E_6761
"""A key for PostgreSQL's advisory locks, so that two claims do not both take the last place of the cap."""

log = structlog.get_logger("engagement")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimTerms:
    """What all claims of a sender have in common."""

    backend: str
    length: timedelta
    """How long a claim lasts."""
    goodbye_wait: timedelta
    settings: DeliverySettings
    lock_timeout: timedelta
    lease_request_id: UUID | None = None
    """The request of an API client that leases messages."""
    most_leased: int = 0
    """How many messages that request may have."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that this sender alone may send, now."""

    message: OutgoingMessage
    expires_at: datetime
    """A message that is not sent by then becomes unknown."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The message cannot be sent, whatever the backend says."""

    reason: str


class Eligible:
    """The message may be sent; it was not claimed because no slot was reserved for it."""


class Enough:
    """The request for leases has as many messages as it may have."""


class Busy:
    """Another session has locked or changed the message or its user."""


class ParametersAreNoObject(Exception):
    """The parameters of a message are JSON, but no object."""


Verdict: TypeAlias = Claim | Cancel | Hold | Failed | Eligible | Enough | Busy


def claim_message(
    candidate: Candidate,
    *,
    terms: ClaimTerms,
    attempt: Attempt,
    pauses: Mapping[str, SendingChannel],
    now: datetime,
    has_slot: bool,
) -> Verdict:
    """Claim a message if it may be sent, or record why not.

    With a slot a message that may be sent is committed as `sending`, and the wait of a goodbye is extended
    from the claim; without one nothing is written then. A message that must not be sent any more is
    cancelled; one that must wait gets `next_attempt_at`, unless `now` is another time than the clock's.
    `pauses` has the paused templates of the backend, by their scope.
    `now` decides what is due and open; the attempt has the database's clock.
    Transaction: opens one, which must be the outermost. Repeatable with the same attempt: a claim that was
    committed is found again.
    """
    decide = partial(
        _decide, candidate, terms=terms, attempt=attempt, pauses=pauses, now=now, has_slot=has_slot
    )
    return in_transaction(decide, lock_timeout=terms.lock_timeout)


def preview(
    candidate: Candidate, *, terms: ClaimTerms, pauses: Mapping[str, SendingChannel], now: datetime
) -> Verdict:
    """What a claim would decide now. Transaction: none; nothing is locked or written."""
    facts = _read(candidate, is_locked=False)
    if facts is None:
        return Busy()
    limits = _limits(facts, terms=terms, pauses=pauses)
    return recheck(facts, limits=limits, now=now) or Eligible()


def _decide(
    candidate: Candidate,
    *,
    terms: ClaimTerms,
    attempt: Attempt,
    pauses: Mapping[str, SendingChannel],
    now: datetime,
    has_slot: bool,
) -> Verdict:
    is_capped = terms.settings.daily_cap and candidate.message_type != MessageType.REPLY
    if is_capped and has_slot:
        _lock_until_commit(_CAP_LOCK)
    facts = _read(candidate, is_locked=True)
    if facts is None:
        return Busy()
    message = facts.message
    if message.status == MessageStatus.SENDING and message.attempt_id == attempt.id:
        outgoing = outgoing_message(message, facts.profile, attempt_id=attempt.id)
        return Claim(outgoing, attempt.claimed_at + terms.length)
    if message.status != MessageStatus.PENDING or (message.next_attempt_at or now) > now:
        return Busy()
    verdict = recheck(facts, limits=_limits(facts, terms=terms, pauses=pauses), now=now)
    if verdict is None and not has_slot:
        return Eligible()
    if verdict is None:
        return _claim(facts, terms=terms, attempt=attempt) if _may_have_more(terms) else Enough()
    # What another time than the clock's holds back may leave by the clock.
    if not isinstance(verdict, Hold) or abs(now - attempt.claimed_at) <= CLOCK_SKEW:
        _record(message, verdict)
    if facts.is_suppressed:
        # So that the next run skips the user. Other pending messages meet the same recheck.
        remember_opt_out(user_id=message.user_id, now=now)
    return verdict


def _read(candidate: Candidate, *, is_locked: bool) -> Facts | None:
    """The message and its user. None if one of the rows is locked by another session, or gone."""
    queued = deliveries.queued_message(candidate, lock=is_locked)
    if queued is None:
        return None
    message, profile, user_state = queued
    is_awaited = (
        message.message_type == MessageType.GOODBYE
        and user_state is not None
        and goodbyes.is_goodbye_of_wait(message, user_state)
    )
    return Facts(
        message=message,
        profile=profile,
        user_state=user_state,
        is_awaited=is_awaited,
        is_suppressed=message.message_type in REENGAGEMENT
        and profile is not None
        and is_suppressed(profile.whatsapp_jid),
    )


def template_scope(message: EngagementMessage, profile: UserProfile | None) -> str:
    """The name under which the message's template is paused."""
    return template_name(message.message_key, _language(profile))


def template_name(message_key: str, language: str) -> str:
    """The scope of a template's channel."""
    return f"{message_key}/{language}"


def _language(profile: UserProfile | None) -> str:
    return message_catalogue.language_of(profile.locale if profile else "")


def _limits(facts: Facts, *, terms: ClaimTerms, pauses: Mapping[str, SendingChannel]) -> Limits:
    return Limits(
        settings=terms.settings,
        paused_template=pauses.get(template_scope(facts.message, facts.profile)),
        is_capped=_is_cap_reached(terms.settings.daily_cap, facts.message),
    )


def _is_cap_reached(cap: int, message: EngagementMessage) -> bool:
    if not cap or message.message_type == MessageType.REPLY:
        return False
    return deliveries.people_sent_to(since=deliveries.database_now() - CAP_PERIOD) >= cap


def _may_have_more(terms: ClaimTerms) -> bool:
    """Whether the request for leases is to have one more message: it may have been repeated meanwhile."""
    if terms.lease_request_id is None:
        return True
    _lock_until_commit(terms.lease_request_id.int >> 65)
    return deliveries.leased_for(terms.lease_request_id, backend=terms.backend).count() < terms.most_leased


def _lock_until_commit(key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [key])


def _claim(facts: Facts, *, terms: ClaimTerms, attempt: Attempt) -> Claim | Failed:
    message = facts.message
    try:
        outgoing = outgoing_message(message, facts.profile, attempt_id=attempt.id)
    except _RENDERING_ERRORS as error:
        log.warning("engagement_message_not_rendered", message_id=str(message.id), error=str(error))
        failed = Failed(CANNOT_BE_RENDERED)
        _record(message, failed)
        return failed
    expires_at = attempt.claimed_at + terms.length
    with connection.cursor() as cursor:
        cursor.execute(
            _MARK_SENDING,
            [
                *(attempt.id, attempt.claimed_at, expires_at, terms.backend, outgoing.to),
                *(terms.lease_request_id, message.id),
            ],
        )
    if message.message_type == MessageType.GOODBYE:
        extend_wait(user_id=message.user_id, until=attempt.claimed_at + terms.goodbye_wait)
    return Claim(outgoing, expires_at)


def outgoing_message(
    message: EngagementMessage, profile: UserProfile | None, *, attempt_id: UUID
) -> OutgoingMessage:
    """The message with its text, as a sender gets it.

    Raises UnknownMessageKey, WrongMessageParameters or WrongTranslation if it cannot be rendered.
    """
    locale = profile.locale if profile else ""
    params: Mapping[str, object] = message.message_params
    if not isinstance(params, dict):
        raise ParametersAreNoObject
    return OutgoingMessage(
        message_id=message.id,
        attempt_id=attempt_id,
        user_id=message.user_id,
        to=((profile.whatsapp_jid if profile else None) or message.destination_jid).strip(),
        message_type=message.message_type,
        message_key=message.message_key,
        params=params,
        language=_language(profile),
        text=message_catalogue.render(key=message.message_key, locale=locale, params=params),
        callback_data=f"{message.id}:{attempt_id}",
    )


def _record(message: EngagementMessage, verdict: Cancel | Hold | Failed) -> None:
    message.outcome_reason, message.next_attempt_at = verdict.reason, None
    match verdict:
        case Hold(until=until):
            message.next_attempt_at = until
        case Cancel():
            message.status = MessageStatus.CANCELLED
            if verdict.reason == NO_PROFILE:  # the user may have been erased
                message.destination_jid = ""
            log.info("engagement_message_cancelled", message_id=str(message.id), reason=verdict.reason)
        case Failed():
            message.status = MessageStatus.FAILED
    message.save(update_fields=["status", "outcome_reason", "next_attempt_at", "destination_jid"])


_RENDERING_ERRORS: Final = (
    message_catalogue.UnknownMessageKey,
    message_catalogue.WrongMessageParameters,
    message_catalogue.WrongTranslation,
    ParametersAreNoObject,
)
_MARK_SENDING: Final = """
    UPDATE engagement_message_queue
    SET status = 'sending',
        attempt_id = %s,
        claimed_at = %s,
        claim_expires_at = %s,
        backend = %s,
        destination_jid = %s,
        lease_request_id = %s,
        next_attempt_at = NULL,
        outcome_reason = NULL
    WHERE id = %s
"""
