"""The settings of the sender, typed, read in this one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured

from engagement.conf import (
    SEND_ALLOW_ONLY,
    SEND_HOURS,
    SEND_RATE,
    SEND_TIME_ZONE,
    SEND_TYPES,
    WHOLE_NUMBERS,
    listed_setting,
    raw_setting,
    text_setting,
    time_zone_setting,
    whole_number,
)
from engagement.models import MessageType
from engagement.sending_hours import SendingHours

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DEFAULT_HOURS: Final = "09:00-20:00"
DEFAULT_TIME_ZONE: Final = "America/Sao_Paulo"
MIN_RATE: Final = 0.0001
MAX_RATE: Final = 1_000.0
_ADDRESS: Final = re.compile(r"[^\s@]+@[^\s@]+|[0-9]{5,15}")
"""A JID, or the bare number of a profile without the server's name."""


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """The settings of the sender, typed."""

    hours: SendingHours | None
    """When re-engagement messages may be sent, in the user's time zone; None for always."""
    time_zone: ZoneInfo
    """The time zone of users who have none."""
    rate_per_second: float | None
    """Messages per second; 0 for no limit, None for the backend's own rate."""
    daily_cap: int
    """The most people who are sent something within 24 hours; 0 for no limit."""
    max_age: timedelta
    """The age, counted from `scheduled_for`, at which a message is no longer sent."""
    max_attempts: int
    """After so many definite failures a message has failed."""
    allow_only: frozenset[str]
    """The only addresses that messages are sent to; empty for all."""
    types: tuple[MessageType, ...]
    """The message types that this sender takes."""


def delivery_settings() -> DeliverySettings:
    """Read and check the settings of the sender.

    Raises ImproperlyConfigured, with one sentence, for an invalid value.
    """
    number = {name: whole_number(name) for name in WHOLE_NUMBERS if "_SEND_" in name}
    return DeliverySettings(
        hours=_hours(),
        time_zone=time_zone_setting(SEND_TIME_ZONE, default=DEFAULT_TIME_ZONE),
        rate_per_second=_rate(),
        daily_cap=number["ENGAGEMENT_SEND_DAILY_CAP"],
        max_age=timedelta(hours=number["ENGAGEMENT_SEND_MAX_AGE_HOURS"]),
        max_attempts=number["ENGAGEMENT_SEND_MAX_ATTEMPTS"],
        allow_only=_allow_only(),
        types=_types(),
    )


def _allow_only() -> frozenset[str]:
    """The error does not repeat an item, which may be a phone number."""
    items = listed_setting(SEND_ALLOW_ONLY)
    if text_setting(SEND_ALLOW_ONLY) and not (items and all(map(_ADDRESS.fullmatch, items))):
        raise ImproperlyConfigured(
            f"{SEND_ALLOW_ONLY} must be addresses such as 5511987654321@s.whatsapp.net, separated by commas;"
            " leave it empty to send to everybody."
        )
    return frozenset(items)


def _hours() -> SendingHours | None:
    """Empty means all hours, so only a missing setting means the default."""
    raw = raw_setting(SEND_HOURS, default=DEFAULT_HOURS)
    try:
        return SendingHours.parse(str(raw)) if raw else None
    except ValueError as error:
        raise ImproperlyConfigured(f"{SEND_HOURS} {error}, not {raw!r}.") from None


def _rate() -> float | None:
    raw = raw_setting(SEND_RATE)
    if raw == "":
        return None
    try:
        rate = float(str(raw))
    except ValueError:
        rate = -1.0
    if rate and not MIN_RATE <= rate <= MAX_RATE:
        raise ImproperlyConfigured(
            f"{SEND_RATE} must be 0 (no limit) or a number from {MIN_RATE} to {MAX_RATE:.0f}, such as 0.02,"
            f" not {raw!r}."
        )
    return rate


def _types() -> tuple[MessageType, ...]:
    names = listed_setting(SEND_TYPES) or MessageType.values
    for name in names:
        if name not in MessageType.values:
            raise ImproperlyConfigured(
                f"{SEND_TYPES} must list some of {', '.join(MessageType.values)}, not {name!r}."
            )
    return tuple(kind for kind in MessageType if kind.value in names)
