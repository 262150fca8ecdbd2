"""What happens to the messages of a demonstration, and what people answer. Pure: in turns, not by chance."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple

from engagement.message_backends.base import Scope
from engagement.models import MessageStatus
from engagement.states import HOUR

MINUTE: Final = timedelta(minutes=1)


class Delivery(Enum):
    """How far a message comes."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    LOST = "lost"
    """Sent, and then reported as not delivered."""
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Fate(NamedTuple):
    """What happens to one message."""

    delivery: Delivery
    answer: str = ""
    """What the user writes then; empty if they say nothing."""
    answers_after: timedelta = HOUR

    @property
    def status(self) -> MessageStatus:
        """The status of the message then."""
        return _STATUSES.get(self.delivery, MessageStatus.SENT)

    def columns(self) -> dict[str, object]:
        """What the sender and the receipts write, but for the times."""
        match self.delivery:
            case Delivery.REFUSED:
                code, scope = REFUSAL_CODE, Scope.RECIPIENT.value
                return {"error_code": code, "outcome_reason": scope, "error_message": f"{scope} ({code})"}
            case Delivery.UNKNOWN:
                return {"outcome_reason": LOST_ANSWER}
            case Delivery.LOST:
                return {"error_code": UNDELIVERABLE_CODE}
            case _:
                return {}

    def receipts(self) -> dict[str, timedelta]:
        """By column: how long after the claim a receipt came."""
        match self.delivery:
            case Delivery.DELIVERED:
                return {"delivered_at": timedelta(seconds=4)}
            case Delivery.READ:
                return {"delivered_at": timedelta(seconds=3), "read_at": 25 * MINUTE}
            case Delivery.LOST:
                return {"failed_at": 2 * MINUTE}
            case _:
                return {}


REFUSAL_CODE: Final = "131026"
"""WhatsApp's code for a number that cannot get messages."""
UNDELIVERABLE_CODE: Final = "131049"
LOST_ANSWER: Final = "read_timeout"

_STATUSES: Final = {Delivery.REFUSED: MessageStatus.FAILED, Delivery.UNKNOWN: MessageStatus.UNKNOWN}

READ: Final = Fate(Delivery.READ)
FATES: Final = (
    Fate(Delivery.READ, "3", 2 * HOUR),
    Fate(Delivery.DELIVERED),
    Fate(Delivery.READ, "1", 5 * HOUR),
    READ,
    Fate(Delivery.REFUSED),
    Fate(Delivery.READ, "2", 20 * HOUR),
    Fate(Delivery.READ, "Oi! Voltei", 9 * HOUR),
    Fate(Delivery.UNKNOWN),
    READ,
    Fate(Delivery.READ, "parar", 3 * HOUR),
    Fate(Delivery.SENT),
    Fate(Delivery.READ, "3", 30 * HOUR),
    Fate(Delivery.LOST),
)
"""The messages take these in turns."""
FATES_PER_RUN: Final = 26
"""Of the messages of one run; all others are read, without an answer."""
