"""The page of a user: state, next step, profile, history and messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html

from engagement.admin.labels import MESSAGE_COLORS, relative, state_text
from engagement.admin.masking import shown_address, shown_person, shown_text
from engagement.delivery_wording import delivery_text
from engagement.formatting import GOODBYE_NOTES, count_text, date_text, next_step_sentence
from engagement.local_times import shown_time
from engagement.message_catalogue import UnknownMessageKey, WrongMessageParameters, WrongTranslation, render
from engagement.models import MessageStatus, MessageType
from engagement.selectors.user_history import in_state_since, read_transitions, read_user_status
from engagement.selectors.user_search import account_names_among, latest_messages, support_actions
from engagement.services.explanation import next_step_of
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from django.contrib.admin.models import LogEntry

    from engagement.admin.masking import Visibility
    from engagement.models import EngagementMessage, UserProfile
    from engagement.selectors.user_history import TransitionRecord, UserStatus

MAX_SHOWN: Final = 50
"""The latest transitions, messages and support actions. The lists have the others."""

NO_PROFILE: Final = "no profile (deleted or never stored): this page shows what remains"

_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Note(NamedTuple):
    """A detail of an event, with a link to a page that has more."""

    text: str
    url: str = ""


class Event(NamedTuple):
    """A transition or a support action."""

    at: datetime
    title: str
    notes: Sequence[Note]
    when: str
    date: str


class ShownMessage(NamedTuple):
    """A message, masked for the reader."""

    row: EngagementMessage
    url: str
    color: str
    text: str
    address: str
    error: str
    when: str
    retries: str


class Page(NamedTuple):
    """The context of the template."""

    visibility: Visibility
    headline: str
    goodbye: ShownMessage | None
    """The goodbye whose reply the user's state waits for."""
    next_step: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Event]
    messages: Sequence[ShownMessage]
    has_more_events: bool
    has_actions: bool
    """Whether the admin's log of the user has entries."""
    has_more_messages: bool
    may_be_inactive: bool
    """Whether the user is not active, as far as the page knows."""
    may_have_pending: bool
    """Whether a message is pending, as far as the page knows."""


def user_page(profile: UserProfile | None, *, user_id: UUID, now: datetime, visibility: Visibility) -> Page:
    """Everything about a user that the reader may see, in a constant number of queries.

    Without a profile it is what the other tables have of the user.
    """
    may = visibility
    status = read_user_status(user_id) if may.states else None
    transitions = read_transitions(user_id, latest=MAX_SHOWN + 1) if may.transitions else []
    messages = latest_messages(user_id, count=MAX_SHOWN + 1) if may.messages else []
    actions = support_actions(user_id, count=MAX_SHOWN + 1)
    since = in_state_since(status, transitions) if status and may.transitions else None
    locale = profile.locale if profile else None
    shown = [_shown(row, locale=locale, unmasked=may.contacts) for row in messages[:MAX_SHOWN]]
    return Page(
        visibility=may,
        headline=_headline(profile, status, now=now, since=since, visibility=may),
        goodbye=_awaited_goodbye(status, shown),
        next_step=_next_step(status, now=now) if may.states else "",
        facts=[
            ("User ID", str(user_id)),
            *(_profile_facts(profile, now=now, unmasked=may.contacts) if profile else ()),
            *_state_facts(status, since=since, now=now),
        ],
        events=_events(transitions, actions, now=now, visibility=may),
        messages=shown,
        has_more_events=max(len(transitions), len(actions)) > MAX_SHOWN,
        has_actions=bool(actions),
        has_more_messages=len(messages) > MAX_SHOWN,
        may_be_inactive=not may.states or (status is not None and status.state != State.ACTIVE),
        may_have_pending=not may.messages or _may_have_pending(messages),
    )


def _headline(
    profile: UserProfile | None,
    status: UserStatus | None,
    *,
    now: datetime,
    since: datetime | None,
    visibility: Visibility,
) -> str:
    if status:
        return state_text(status, now=now, since=since)
    if profile is None:
        return NO_PROFILE
    return "no messages yet" if visibility.states else "not shown: your account may not see states"


def _awaited_goodbye(status: UserStatus | None, messages: Sequence[ShownMessage]) -> ShownMessage | None:
    if status is None or status.state != State.GOODBYE_SENT:
        return None
    return next((shown for shown in messages if shown.row.message_type == MessageType.GOODBYE), None)


def _next_step(status: UserStatus | None, *, now: datetime) -> str:
    return next_step_sentence(next_step_of(user_status=status, now=now), date=shown_time)


def _may_have_pending(messages: Sequence[EngagementMessage]) -> bool:
    # A message that the page does not show may be pending.
    return len(messages) > MAX_SHOWN or any(message.status == MessageStatus.PENDING for message in messages)


def _profile_facts(profile: UserProfile, *, now: datetime, unmasked: bool) -> Iterator[tuple[str, str]]:
    yield "WhatsApp", shown_address(profile.whatsapp_jid, unmasked=unmasked) or "no address"
    yield "Channel", profile.get_preferred_destination_display()
    yield "Locale", shown_text(profile.locale, unmasked=unmasked)
    opted_out = "yes" if profile.reengagement_opt_out else "no"
    if profile.opt_out_changed_at:
        opted_out += f", since {date_text(profile.opt_out_changed_at)}"
    yield "Opted out", opted_out
    yield "First seen", _date(profile.created_at, now=now)


def _state_facts(
    status: UserStatus | None, *, since: datetime | None, now: datetime
) -> Iterator[tuple[str, str]]:
    if status is None:
        return
    for name, instant in (
        ("In this state since", since),
        ("Last message", status.last_activity_at),
        ("Goodbye queued", status.goodbye_sent_at),
        ("Reply expected until", status.goodbye_expires_at),
        ("Reminder due", status.remind_at),
    ):
        if instant is not None:
            yield name, _date(instant, now=now)


def _date(instant: datetime, *, now: datetime) -> str:
    return f"{date_text(instant)} ({relative(instant, now=now)})"


def _shown(message: EngagementMessage, *, locale: str | None, unmasked: bool) -> ShownMessage:
    retries = message.retry_count
    return ShownMessage(
        row=message,
        url=reverse("admin:engagement_engagementmessage_change", args=(message.pk,)),
        color=MESSAGE_COLORS.get(message.status, ""),
        text=shown_text(message_text(message, locale=locale), unmasked=unmasked),
        address=shown_address(message.destination_jid, unmasked=unmasked),
        error=shown_text(message.error_message, unmasked=unmasked),
        when=delivery_text(message, date=shown_time),
        retries=("1 retry" if retries == 1 else f"{retries:,} retries") if retries else "",
    )


def message_text(message: EngagementMessage, *, locale: str | None) -> str:
    """The text of a message in the user's language, or the reason why it is unknown."""
    if locale is None:
        return f"(Text of {message.message_key}: the language is unknown because the user has no profile.)"
    # Other programs may store any JSON value.
    params = message.message_params if isinstance(message.message_params, dict) else {}
    try:
        return render(key=message.message_key, locale=locale, params=params)
    except UnknownMessageKey:
        return f"(The text of {message.message_key} belongs to another program.)"
    except (WrongMessageParameters, WrongTranslation):
        return f"(The text of {message.message_key} needs other parameters.)"


def _events(
    transitions: Sequence[TransitionRecord],
    actions: Sequence[LogEntry],
    *,
    now: datetime,
    visibility: Visibility,
) -> list[Event]:
    """The history, the latest first. It ends where either of its parts is cut, to leave no gap.

    `transitions` begin with the oldest, `actions` with the latest.
    """
    cuts = []
    if len(transitions) > MAX_SHOWN:
        cuts.append(transitions[-MAX_SHOWN].created_at)
    if len(actions) > MAX_SHOWN:
        cuts.append(actions[MAX_SHOWN - 1].action_time)
    accounts = account_names_among(transition.performed_by for transition in transitions)
    # Reversed, so that sorting keeps the later of two transitions of one instant first.
    events = [
        _transition_event(transition, now=now, visibility=visibility, accounts=accounts)
        for transition in reversed(transitions[-MAX_SHOWN:])
    ]
    events += [_action_event(entry, now=now, visibility=visibility) for entry in actions[:MAX_SHOWN]]
    events.sort(key=lambda event: event.at, reverse=True)
    return [event for event in events if all(event.at >= cut for cut in cuts)]


def _event(at: datetime, title: str, notes: Sequence[Note], *, now: datetime) -> Event:
    return Event(at, title, notes, relative(at, now=now), date_text(at))


def _action_event(entry: LogEntry, *, now: datetime, visibility: Visibility) -> Event:
    by = Note(f"by {entry.user.get_username()}")
    title = _with_link(entry.change_message) if visibility.messages else entry.change_message
    return _event(entry.action_time, title, [by], now=now)


def _with_link(sentence: str) -> str:
    """The sentence of a support action, with a link to the message that it names by id."""
    found = _UUID.search(sentence)
    if found is None:
        return sentence
    url = reverse("admin:engagement_engagementmessage_change", args=(found.group(),))
    link = format_html('<a class="engagement-link" href="{}">{}</a>', url, found.group())
    return format_html("{}{}{}", sentence[: found.start()], link, sentence[found.end() :])


def _transition_event(
    transition: TransitionRecord, *, now: datetime, visibility: Visibility, accounts: Collection[str]
) -> Event:
    reason = "Marked as active" if transition.is_manual else Trigger(transition.trigger).label
    title = f"{reason}: {State(transition.from_state).label} → {State(transition.to_state).label}"
    unmasked = visibility.contacts
    notes = [
        Note(shown_text(note.text, unmasked=unmasked), note.url if visibility.runs else "")
        for note in _notes(transition)
    ]
    if person := shown_person(transition.performed_by, unmasked=unmasked, accounts=accounts):
        notes.append(Note(f"by {person}"))
    return _event(transition.created_at, title, notes, now=now)


def _notes(transition: TransitionRecord) -> Iterator[Note]:
    # Other programs may store any JSON value.
    metadata: dict[str, Any] = transition.metadata if isinstance(transition.metadata, dict) else {}
    if isinstance(days := metadata.get("days_inactive"), int):
        yield Note(f"inactive for {count_text(days, 'day')}")
    if isinstance(hours := metadata.get("hours_waited"), int):
        yield Note(f"{count_text(hours, 'hour')} after the goodbye")
    if note := GOODBYE_NOTES.get(str(metadata.get("goodbye"))):
        yield Note(str(note))
    if metadata.get("unprompted_return") is True:
        yield Note("unprompted return")
    if job_id := metadata.get("job_id"):
        yield Note(f"run {job_id}", _run_url(job_id))
    if undone_job_id := metadata.get("undone_job_id"):
        yield Note(f"undid run {undone_job_id}", _run_url(undone_job_id))


def _run_url(job_id: object) -> str:
    try:
        return reverse("admin:engagement_engagementjobrun_change", args=(UUID(str(job_id)),))
    except ValueError:
        return ""
