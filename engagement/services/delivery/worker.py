"""One worker of the sender: claims a message, sends it, records the outcome; one at a time.

No lock is held and no transaction is open while the backend works.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from django.db import Error as DatabaseError

from engagement.message_backends.base import BACKEND_CRASHED, NOT_RECORDED, Refused, Scope, Unknown
from engagement.models import MessageStatus
from engagement.selectors import deliveries
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.capacity import interval_of
from engagement.services.delivery.channels import (
    Paused,
    next_slot,
    pause_of,
    pause_sending,
    paused_templates,
    reserve_slot,
)
from engagement.services.delivery.claim import Claim, Eligible, Failed, claim_message, template_name
from engagement.services.delivery.outcomes import AttemptOutcome, Ending, put_off, record_outcome
from engagement.services.delivery.recheck import LONGEST_HOLD, Cancel, Hold
from engagement.services.delivery.result import MessageEnding, SendError
from engagement.services.message_queue import mark_expired_claims
from engagement.services.resilience.errors import ErrorKind, cause_of, describe, error_kind
from engagement.states import HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.message_backends.base import MessageBackend, OutgoingMessage, SendOutcome
    from engagement.models import SendingChannel
    from engagement.selectors.deliveries import Candidate, Share
    from engagement.services.delivery.claim import ClaimTerms, Verdict
    from engagement.services.resilience.retries import RetryPolicy
    from engagement.services.resilience.stop import StopRequest

log = structlog.get_logger("engagement")
MAX_UNKNOWN_IN_A_ROW: Final = 10
BRAKE: Final = HOUR
"""How long sending is paused then."""
LOOK_AGAIN: Final = MINUTE
"""How often a worker that waits for its slot asks whether sending was paused or resumed."""
NAMES: Final[Mapping[str, str]] = {
    MessageStatus.SENT: "sent",
    MessageStatus.FAILED: "failed",
    MessageStatus.CANCELLED: "cancelled",
    MessageStatus.PENDING: "waiting",
}
"""By status: the count of a message that something else has ended. Any other is unknown."""


class Worker:
    """Sends due messages until none is left, its limit is reached, or sending is paused."""

    def __init__(
        self,
        *,
        backend: MessageBackend,
        terms: ClaimTerms,
        share: Share,
        retries: RetryPolicy,
        stop: StopRequest,
        shift: timedelta,
        report: Callable[[MessageEnding], None],
        tick: Callable[[], None],
    ) -> None:
        """Keep the pace of the backend, which all processes share.

        `tick` is called before each message, and once a minute while the worker waits for a slot.
        """
        self._backend = backend
        self._terms = terms
        self._interval = interval_of(backend, terms.settings)
        self._share = share
        self._retries = retries
        self._stop = stop
        self._shift = shift
        self._report = report
        self._tick = tick
        self._unknown_in_a_row = 0
        self._left: set[UUID] = set()
        """The messages of this pass that cannot be read or written; a reply would come again and again."""
        self._channels: Mapping[str, SendingChannel] = {}
        self.paused: Paused | None = None
        self.unused_slot: datetime | None = None
        """The slot that was reserved when a stop was asked for."""

    def run(self, *, limit: int | None) -> int:
        """Send until nothing is due; returns how many messages were given to the backend.

        Transaction: opens several for each message, which must be the outermost. Raises an error of the
        database when it cannot go on.
        """
        self.paused = None
        self._left.clear()
        attempted = 0
        self._read_clock()
        self._retries.retry(partial(mark_expired_claims, now=self._clock()))
        for share in self._share.passes():
            for candidate in deliveries.candidates(
                self._terms.settings.types, clock=self._due_by, read=self._retries.read, share=share
            ):
                if self._must_end() or attempted == limit:
                    return attempted
                if candidate.id not in self._left:
                    attempted += self._try(candidate)
        return attempted

    def _due_by(self) -> datetime:
        """The time by which a message must be due."""
        return self._clock() + self._shift

    def _must_end(self) -> bool:
        return self.paused is not None or self._stop.is_set()

    def _try(self, candidate: Candidate) -> bool:
        """Send one message if it may be sent; returns whether the backend got it."""
        try:
            verdict = self._verdict_on(candidate)
        except Exception as error:
            # An error that is about this message must not keep the others from being sent.
            if error_kind(error) is not ErrorKind.DATA:
                raise
            self._left.add(candidate.id)
            reason = _log_crash("engagement_message_crashed", candidate.id, cause_of(error))
            self._put_off(candidate.id)
            self._report(MessageEnding("waiting", SendError(candidate.id, "pending", reason)))
            return False
        match verdict:
            case Claim():
                self._send(verdict)
                return True
            case Cancel():
                self._report(MessageEnding("cancelled"))
            case Hold():
                self._report(MessageEnding("waiting"))
            case Failed(reason):
                self._report(MessageEnding("failed", SendError(candidate.id, "failed", reason)))
        return False

    def _put_off(self, message_id: UUID) -> None:
        """Let a message that cannot be claimed wait, if its row can be written at all."""
        try:
            self._retries.retry(lambda: put_off(message_id, until=self._clock() + LONGEST_HOLD))
        except Exception as error:
            if error_kind(error) is not ErrorKind.DATA:
                raise

    def _verdict_on(self, candidate: Candidate) -> Verdict | None:
        """Claim the message when its time has come. None if sending is paused, or a stop was asked for."""
        self._read_clock()
        if self._is_paused():
            return None
        if self._interval:
            verdict = self._claim(candidate, has_slot=False)
            if not isinstance(verdict, Eligible):
                return verdict
        return self._claim(candidate, has_slot=True) if self._wait_for(self._slot()) else None

    def _claim(self, candidate: Candidate, *, has_slot: bool) -> Verdict:
        clock = self._clock()
        return self._retries.retry(
            partial(
                claim_message,
                candidate,
                terms=self._terms,
                attempt=Attempt.at(clock),
                pauses=paused_templates(self._channels, now=clock),
                now=clock + self._shift,
                has_slot=has_slot,
            )
        )

    def _slot(self) -> datetime | Paused:
        """The next slot; reserved, unless the pace has no limit."""
        if not self._interval:
            return next_slot(self._channels, now=self._clock())
        reserve = partial(
            reserve_slot,
            backend=self._backend.name,
            interval=self._interval,
            has_jitter=self._backend.has_jitter,
            now=self._clock(),
        )
        return self._retries.retry(reserve)

    def _wait_for(self, slot: datetime | Paused) -> bool:
        """Wait until the slot begins. False if sending is paused, or a stop was asked for."""
        if isinstance(slot, Paused):
            self.paused = slot
            return False
        reserved_at = self._clock()
        while (wait := slot - self._clock()) > timedelta():
            self._stop.wait(min(wait, LOOK_AGAIN).total_seconds())
            if self._stop.is_set():
                self.unused_slot = slot if self._interval else None
                return False
            # Somebody may have paused sending meanwhile, or resumed it.
            self._read_clock()
            if self._is_paused():
                return False
            channel = self._channels.get("")
            if channel and channel.resumed_at and channel.resumed_at > reserved_at:
                # Slots are counted anew.
                return self._wait_for(self._slot())
        return True

    def _is_paused(self) -> bool:
        self.paused = pause_of(self._channels.get(""), now=self._clock())
        return self.paused is not None

    def _send(self, claim: Claim) -> None:
        message = claim.message
        if self._clock() + self._backend.max_call > claim.expires_at:
            # The claim was committed, and then the database was away.
            result: SendOutcome = Refused(Scope.CONNECTION, "claimed_too_long_ago")
        else:
            result = self._answer_to(message)
        outcome = AttemptOutcome(message.message_id, message.attempt_id, result)
        record = partial(
            record_outcome,
            outcome,
            backend=self._backend.name,
            template=template_name(message.message_key, message.language),
            max_attempts=self._terms.settings.max_attempts,
        )
        try:
            ending = self._retries.retry(lambda: record(now=self._clock()))
        except Exception as error:
            if error_kind(error) is not ErrorKind.DATA:
                raise
            _log_crash("engagement_outcome_not_recorded", message.message_id, error)
            ending, result = Ending.UNKNOWN, Unknown(NOT_RECORDED)
        name = self._name_of(ending, message.message_id)
        self._report(_ending_as_reported(message, name, result))
        self._brake_after(is_unknown=name == Ending.UNKNOWN)

    def _name_of(self, ending: Ending, message_id: UUID) -> str:
        """How to count the message. If something else ended it meanwhile, such as a receipt, its row says."""
        if ending is not Ending.STALE:
            return ending.value
        status = self._retries.read(partial(deliveries.status_of, message_id))
        return NAMES.get(status or "", Ending.UNKNOWN.value)

    def _brake_after(self, *, is_unknown: bool) -> None:
        """Pause after many unknown outcomes in a row: a person has to resolve each of them."""
        self._unknown_in_a_row = self._unknown_in_a_row + 1 if is_unknown else 0
        if self._unknown_in_a_row < MAX_UNKNOWN_IN_A_ROW:
            return
        self._unknown_in_a_row = 0
        now = self._clock()
        reason = f"{MAX_UNKNOWN_IN_A_ROW} unknown outcomes in a row"
        self._retries.retry(
            partial(pause_sending, backend=self._backend.name, until=now + BRAKE, reason=reason, now=now)
        )

    def _answer_to(self, message: OutgoingMessage) -> SendOutcome:
        try:
            return self._backend.send(message)
        except Exception as error:  # noqa: BLE001  a backend must not raise; the message may have left
            _log_crash("engagement_backend_crashed", message.message_id, error)
            return Unknown(BACKEND_CRASHED)

    def _read_clock(self) -> None:
        """Read the database's clock, and the channels, once for each message."""
        self._tick()

        def read() -> tuple[float, tuple[datetime, Mapping[str, SendingChannel]]]:
            return time.monotonic(), deliveries.clock_and_channels(self._backend.name)

        self._clock_read_at, (self._database_clock, self._channels) = self._retries.retry(read)

    def _clock(self) -> datetime:
        """The database's clock, as it must be now."""
        return self._database_clock + timedelta(seconds=time.monotonic() - self._clock_read_at)


def _ending_as_reported(message: OutgoingMessage, name: str, result: SendOutcome) -> MessageEnding:
    reason = result.code if isinstance(result, Refused) else ""
    if isinstance(result, Unknown):
        reason = result.reason
    if name in {Ending.FAILED, Ending.UNKNOWN}:
        return MessageEnding(name, SendError(message.message_id, name, reason))
    if name == Ending.WAITING and isinstance(result, Refused):
        return MessageEnding(name, refusal=f"{result.scope.value} ({reason})")
    return MessageEnding(name)


def _log_crash(event: str, message_id: UUID, error: BaseException) -> str:
    """Log an unexpected error: by its type, unless it is the database's; its text may hold the message."""
    cause = describe(error) if isinstance(error, DatabaseError) else type(error).__name__
    log.error(event, message_id=str(message_id), error=cause)
    return cause
