"""All there is to see of one user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from django.urls import reverse

from engagement.admin import colors
from engagement.admin.masking import shown_address, shown_text
from engagement.admin.timeline import LONG_AGO, timeline
from engagement.admin.words import relative, state_in_words
from engagement.formatting import count_text, date_text, next_step_sentence
from engagement.message_catalogue import UnknownMessageKey, WrongMessageParameters, WrongTranslation, render
from engagement.models import MessageStatus
from engagement.selectors import user_history
from engagement.selectors import user_search as people_selectors
from engagement.services.explanation import next_step_of
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.contrib.admin.models import LogEntry

    from engagement.admin.timeline import Event
    from engagement.admin.visibility import Sight
    from engagement.models import EngagementMessage, UserProfile
    from engagement.selectors.user_history import TransitionRecord, UserStatus

SHOWN: Final = 50
"""Moves, messages and acts by hand, the latest; the lists have the others."""

NO_PROFILE: Final = "no profile: deleted, or never stored; what else is kept of them is shown here"


class ShownMessage(NamedTuple):
    """A message, as far as the reader may see it."""

    row: EngagementMessage
    url: str
    color: str
    text: str
    address: str
    error: str
    when: str
    retries: str


class Page(NamedTuple):
    """What the template shows."""

    sight: Sight
    headline: str
    next_step: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Event]
    shown_messages: Sequence[ShownMessage]
    has_more_events: bool
    has_acts: bool
    """Whether anything was done for the user by hand, apart from moving them."""
    has_more_messages: bool
    may_be_brought_back: bool
    """Whether that would make a difference, as far as the page knows."""
    may_have_pending: bool
    """Whether a message is still to be sent, as far as the page knows."""


def user_page(profile: UserProfile | None, *, user_id: UUID, now: datetime, sight: Sight) -> Page:
    """Everything about one user that the reader may see, in a constant number of queries.

    Without a profile: what is kept of a user who was deleted, or known of one who was never stored.
    """
    user_status = user_history.read_user_status(user_id) if sight.states else None
    moves = user_history.read_transitions(user_id, latest=SHOWN + 1) if sight.moves else []
    messages = people_selectors.latest_messages(user_id, count=SHOWN + 1) if sight.messages else []
    acts = people_selectors.manual_actions(user_id, count=SHOWN + 1)
    since = user_history.in_state_since(user_status, moves) if user_status and sight.moves else None
    locale = profile.locale if profile else None
    return Page(
        sight=sight,
        headline=_headline(profile, user_status, now=now, since=since, sight=sight),
        next_step=_outlook(user_status, now=now) if sight.states else "",
        facts=[
            ("User id", str(user_id)),
            *(_facts(profile, now=now, plain=sight.contacts) if profile else ()),
            *_dates(user_status, since=since, now=now),
        ],
        events=_events(moves, acts, now=now, sight=sight),
        shown_messages=[
            _shown(message, locale=locale, now=now, plain=sight.contacts) for message in messages[:SHOWN]
        ],
        has_more_events=max(len(moves), len(acts)) > SHOWN,
        has_acts=bool(acts),
        has_more_messages=len(messages) > SHOWN,
        may_be_brought_back=_may_be_brought_back(user_status) if sight.states else True,
        may_have_pending=_may_have_pending(messages) if sight.messages else True,
    )


def _headline(
    profile: UserProfile | None,
    user_status: UserStatus | None,
    *,
    now: datetime,
    since: datetime | None,
    sight: Sight,
) -> str:
    if user_status:
        return state_in_words(user_status, now=now, since=since)
    if profile is None:
        return NO_PROFILE
    return "not heard of yet" if sight.states else "not shown: your account may not see states"


def _outlook(user_status: UserStatus | None, *, now: datetime) -> str:
    return next_step_sentence(next_step_of(user_status=user_status, now=now))


def _may_be_brought_back(user_status: UserStatus | None) -> bool:
    return user_status is not None and user_status.state != State.ACTIVE


def _may_have_pending(messages: Sequence[EngagementMessage]) -> bool:
    # Behind those that are shown there may be one.
    return len(messages) > SHOWN or any(message.status == MessageStatus.PENDING for message in messages)


def _facts(profile: UserProfile, *, now: datetime, plain: bool) -> Iterator[tuple[str, str]]:
    yield "WhatsApp", shown_address(profile.whatsapp_jid, plain=plain) or "no address"
    yield "Messages go to", profile.get_preferred_destination_display()
    yield "Locale", shown_text(profile.locale, plain=plain)
    opted_out = "yes" if profile.reengagement_opt_out else "no"
    if profile.opt_out_changed_at:
        opted_out += f", since {date_text(profile.opt_out_changed_at)}"
    yield "Opted out", opted_out
    yield "Known since", _date(profile.created_at, now=now)


def _dates(
    user_status: UserStatus | None, *, since: datetime | None, now: datetime
) -> Iterator[tuple[str, str]]:
    """Those of the state that are known."""
    if user_status is None:
        return
    for name, instant in (
        ("In this state since", since),
        ("Last heard of", user_status.last_activity_at),
        ("Goodbye sent", user_status.goodbye_sent_at),
        ("Goodbye ends", user_status.goodbye_expires_at),
        ("To be reminded", user_status.remind_at),
    ):
        if instant is not None:
            yield name, _date(instant, now=now)


def _date(instant: datetime, *, now: datetime) -> str:
    return f"{date_text(instant)} ({relative(instant, now=now)})"


def _events(
    moves: Sequence[TransitionRecord], acts: Sequence[LogEntry], *, now: datetime, sight: Sight
) -> list[Event]:
    """What is shown of either, and nothing older than where one is cut: nobody would see the gap."""
    begins = LONG_AGO
    if len(moves) > SHOWN:
        begins = moves[-SHOWN].created_at
    if len(acts) > SHOWN:
        begins = max(begins, acts[SHOWN - 1].action_time)
    events = timeline(moves[-SHOWN:], acts[:SHOWN], now=now, sight=sight)
    return [event for event in events if (event.at or LONG_AGO) >= begins]


def _shown(message: EngagementMessage, *, locale: str | None, now: datetime, plain: bool) -> ShownMessage:
    verb = "sent" if message.sent_at else "scheduled"
    instant = message.sent_at or message.scheduled_for
    return ShownMessage(
        row=message,
        url=reverse("admin:engagement_engagementmessage_change", args=(message.pk,)),
        color=colors.MESSAGES.get(message.get_status_display(), ""),
        text=shown_text(text_of(message, locale=locale), plain=plain),
        address=shown_address(message.destination_jid, plain=plain),
        error=shown_text(message.error_message, plain=plain),
        when=f"{verb} {relative(instant, now=now)}, {date_text(instant)}",
        retries=f"tried again {count_text(retries, 'time')}" if (retries := message.retry_count) else "",
    )


def text_of(message: EngagementMessage, *, locale: str | None) -> str:
    """What the message says in the user's language, or why that is not known."""
    if locale is None:
        return f"(The text of {message.message_key}, in a language that is not known any more.)"
    params = message.message_params if isinstance(message.message_params, dict) else {}
    try:
        return render(key=message.message_key, locale=locale, params=params)
    except UnknownMessageKey:
        return f"(The text of {message.message_key} belongs to another program.)"
    except (WrongMessageParameters, WrongTranslation):
        return f"(The text of {message.message_key} needs other parameters than it was given.)"
