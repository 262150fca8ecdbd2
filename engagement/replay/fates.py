"""What happens to the messages of a demonstration, and what people answer. Pure: in turns, not by chance."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.message_backends.base import TIMEOUT, Scope
from engagement.models import MessageStatus
from engagement.states import HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSAL_CODE: Final = "131026"
"""WhatsApp's code for a number that cannot get messages."""
UNDELIVERABLE_CODE: Final = "131049"


class Delivery(NamedTuple):
    """How far a message comes."""

    status: MessageStatus
    columns: Mapping[str, object]
    """What the sender and the receipts write, but for the times."""
    receipts: Mapping[str, timedelta]
    """By column: how long after the claim a receipt came."""


class Fate(NamedTuple):
    """What happens to one message."""

    delivery: Delivery
    answer: str = ""
    """What the user writes then; empty if they say nothing."""
    answers_after: timedelta = HOUR


_SENT: Final = Delivery(MessageStatus.SENT, {}, {})
_DELIVERED: Final = _SENT._replace(receipts={"delivered_at": timedelta(seconds=4)})
_READ: Final = _SENT._replace(receipts={"delivered_at": timedelta(seconds=3), "read_at": 25 * MINUTE})
_LOST: Final = Delivery(MessageStatus.SENT, {"error_code": UNDELIVERABLE_CODE}, {"failed_at": 2 * MINUTE})
"""Sent, and then reported as not delivered."""
_REFUSED: Final = Delivery(
    MessageStatus.FAILED,
    {
        "error_code": REFUSAL_CODE,
        "outcome_reason": Scope.RECIPIENT.value,
        "error_message": f"{Scope.RECIPIENT.value} ({REFUSAL_CODE})",
    },
    {},
)
_UNKNOWN: Final = Delivery(MessageStatus.UNKNOWN, {"outcome_reason": TIMEOUT}, {})

READ: Final = Fate(_READ)
FATES: Final = (
    Fate(_READ, "3", 2 * HOUR),
    Fate(_DELIVERED),
    Fate(_READ, "1", 5 * HOUR),
    READ,
    Fate(_REFUSED),
    Fate(_READ, "2", 20 * HOUR),
    Fate(_READ, "Oi! Voltei", 9 * HOUR),
    Fate(_UNKNOWN),
    READ,
    Fate(_READ, "parar", 3 * HOUR),
    Fate(_SENT),
    Fate(_READ, "3", 30 * HOUR),
    Fate(_LOST),
)
"""The messages take these in turns."""
FATES_PER_RUN: Final = 26
"""Of the messages of one run; all others are read, without an answer."""
