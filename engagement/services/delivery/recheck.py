"""Whether a queued message may still be sent, and whether it may be sent now. Pure.

Rules: docs/delivery.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from engagement.models import MessageType, is_address
from engagement.selectors.deliveries import WAITING_ALLOW_LIST, WAITING_CAP, WAITING_HOURS, WAITING_PAUSE
from engagement.sending_hours import zone_named
from engagement.services.message_queue import OPTED_OUT, WAIT_OVER
from engagement.services.preferences import REENGAGEMENT
from engagement.states import State

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from engagement.models import EngagementMessage, SendingChannel, UserProfile
    from engagement.services.delivery.settings import DeliverySettings
    from engagement.states import UserState

NO_PROFILE: Final = "no_profile"
NO_ADDRESS: Final = "no_address"
NOT_THIS_WAIT: Final = "not_this_wait"
TOO_OLD: Final = "too_old"

MAX_REPLY_AGE: Final = timedelta(hours=23)
"""A reply may be free text for 24 hours after the user's message."""
LONGEST_HOLD: Final = timedelta(hours=1)
"""So that changed settings act within the hour."""

log = structlog.get_logger("engagement")
_unknown_zones: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a message and its user."""

    message: EngagementMessage
    profile: UserProfile | None
    user_state: UserState | None
    is_awaited: bool
    """Whether the message is the goodbye of the user's present wait."""
    is_suppressed: bool = False
    """Whether the address belongs to a person who was erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds messages back, besides what they are."""

    settings: DeliverySettings
    paused_template: SendingChannel | None
    is_capped: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """The message must not be sent any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The message must not be sent before `until`."""

    reason: str
    until: datetime


def recheck(facts: Facts, *, limits: Limits, now: datetime) -> Cancel | Hold | None:
    """What keeps the message from being sent at `now`, or None."""
    return reason_to_cancel(facts, settings=limits.settings, now=now) or _reason_to_hold(
        facts, limits=limits, now=now
    )


def reason_to_cancel(facts: Facts, *, settings: DeliverySettings, now: datetime) -> Cancel | None:
    """Why the message must not be sent any more, or None."""
    message, profile = facts.message, facts.profile
    reason = None
    if profile is None:
        reason = NO_PROFILE
    elif not is_address(profile.whatsapp_jid):
        reason = NO_ADDRESS
    elif message.message_type == MessageType.GOODBYE:
        reason = _reason_against_goodbye(facts, opted_out=_is_opted_out(facts), now=now)
    elif message.message_type in REENGAGEMENT and _is_opted_out(facts):
        reason = OPTED_OUT
    elif _is_too_old(message, settings=settings, now=now):
        reason = TOO_OLD
    return Cancel(reason) if reason else None


def _is_opted_out(facts: Facts) -> bool:
    profile = facts.profile
    return facts.is_suppressed or (profile is not None and profile.reengagement_opt_out)


def _reason_against_goodbye(facts: Facts, *, opted_out: bool, now: datetime) -> str | None:
    state = facts.user_state
    if state is None or state.state != State.GOODBYE_SENT or not facts.is_awaited:
        return NOT_THIS_WAIT
    if state.goodbye_expires_at is None or state.goodbye_expires_at <= now:
        return WAIT_OVER
    return OPTED_OUT if opted_out else None


def _is_too_old(message: EngagementMessage, *, settings: DeliverySettings, now: datetime) -> bool:
    if message.message_type == MessageType.REPLY:
        # It is scheduled for the time of the message that it answers; a retry moves that.
        return now - min(message.created_at, message.scheduled_for) >= MAX_REPLY_AGE
    return now - message.scheduled_for >= settings.max_age


def _reason_to_hold(facts: Facts, *, limits: Limits, now: datetime) -> Hold | None:
    message, profile, settings = facts.message, facts.profile, limits.settings
    latest = now + LONGEST_HOLD
    if settings.allow_only and profile and profile.whatsapp_jid not in settings.allow_only:
        return Hold(WAITING_ALLOW_LIST, latest)
    paused = limits.paused_template
    if paused and paused.paused_until:
        return Hold(WAITING_PAUSE, min(paused.paused_until, latest))
    if message.message_type == MessageType.REPLY:
        return None
    if settings.hours and message.message_type in REENGAGEMENT:
        zone = time_zone_of(profile, default=settings.time_zone)
        opens_at = settings.hours.next_open_at(now, zone=zone)
        if opens_at > now:
            return Hold(WAITING_HOURS, min(opens_at, latest))
    return Hold(WAITING_CAP, latest) if limits.is_capped else None


def time_zone_of(profile: UserProfile | None, *, default: ZoneInfo) -> ZoneInfo:
    """The user's time zone; the default if they have none. A name that is unknown is logged once."""
    name = profile.time_zone if profile else None
    zone = zone_named(name)
    if name and zone is None and name not in _unknown_zones:
        _unknown_zones.add(name)
        log.warning("engagement_time_zone_unknown", time_zone=name[:64])
    return zone or default
