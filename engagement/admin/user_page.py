"""All there is to see of one user."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.urls import reverse

from engagement import histories, people_selectors
from engagement.admin import colors
from engagement.admin.contacts import shown_address, shown_text
from engagement.admin.words import relative, state_in_words
from engagement.messages import UnknownMessageKey, WrongMessageParameters, WrongTranslation, render
from engagement.models import MessageStatus
from engagement.services.explanation import outlook_of
from engagement.states import State, Trigger
from engagement.words import counted, date_in_words, outlook_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib.admin.models import LogEntry

    from engagement.histories import Move, Standing
    from engagement.models import EngagementMessage, UserProfile

SHOWN: Final = 50
"""Moves, messages and acts by hand, the latest; the lists have the others."""

NO_PROFILE: Final = "no profile: deleted, or never stored; what else is kept of them is shown here"

LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Note(NamedTuple):
    """What is worth knowing of an event, and the page that has more of it."""

    text: str
    url: str = ""


class Event(NamedTuple):
    """Something that happened to the user."""

    at: datetime | None
    title: str
    notes: Sequence[Note]
    when: str
    date: str


class ShownMessage(NamedTuple):
    """A message, as far as the reader may see it."""

    row: EngagementMessage
    color: str
    text: str
    address: str
    error: str
    when: str
    retries: str


class Page(NamedTuple):
    """What the template shows."""

    state: str | None
    headline: str
    outlook: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Event]
    shown_messages: Sequence[ShownMessage]
    has_more_moves: bool
    has_more_acts: bool
    has_more_messages: bool
    may_have_pending: bool
    """Whether one of the messages, or perhaps one of those that are not shown, is still to be sent."""


def user_page(
    profile: UserProfile | None, *, user_id: UUID, now: datetime, plain: bool, links_runs: bool
) -> Page:
    """Everything about one user in a constant number of queries; addresses are masked unless `plain`.

    Without a profile: what is kept of a user who was deleted, or known of one who was never stored.
    """
    standing = histories.read_standing(user_id)
    outlook = outlook_of(user_id=user_id, standing=standing, now=now)
    moves = histories.read_moves(user_id, latest=SHOWN + 1)
    messages = people_selectors.latest_messages(user_id, count=SHOWN + 1)
    since = histories.since_when(standing, moves) if standing else None
    entries = people_selectors.acts_by_hand(user_id, count=SHOWN + 1)
    locale = profile.locale if profile else None
    return Page(
        state=standing.state if standing else None,
        headline=_headline(profile, standing, now=now, since=since),
        outlook=outlook_in_words(outlook, standing=standing),
        facts=[
            ("User id", str(user_id)),
            *(_facts(profile, now=now, plain=plain) if profile else ()),
            *_dates(standing, since=since, now=now),
        ],
        events=_events(moves[-SHOWN:], entries[:SHOWN], now=now, plain=plain, links_runs=links_runs),
        shown_messages=[_shown(message, locale=locale, now=now, plain=plain) for message in messages[:SHOWN]],
        has_more_moves=len(moves) > SHOWN,
        has_more_acts=len(entries) > SHOWN,
        has_more_messages=len(messages) > SHOWN,
        may_have_pending=len(messages) > SHOWN
        or any(message.status == MessageStatus.PENDING for message in messages),
    )


def _headline(
    profile: UserProfile | None, standing: Standing | None, *, now: datetime, since: datetime | None
) -> str:
    if standing:
        return state_in_words(standing, now=now, since=since)
    return (
        "not heard of yet"
        if profile
        else "no profile: deleted, or never stored; what else is kept of them is shown here"
    )


def _facts(profile: UserProfile, *, now: datetime, plain: bool) -> Iterator[tuple[str, str]]:
    yield "WhatsApp", shown_address(profile.whatsapp_jid, plain=plain) or "no address"
    yield "Messages go to", profile.get_preferred_destination_display()
    yield "Locale", profile.locale
    opted_out = "yes" if profile.reengagement_opt_out else "no"
    if profile.opt_out_changed_at:
        opted_out += f", since {date_in_words(profile.opt_out_changed_at)}"
    yield "Opted out", opted_out
    yield "Known since", _date(profile.created_at, now=now)


def _dates(standing: Standing | None, *, since: datetime | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Those of the state that are known."""
    if standing is None:
        return
    for name, instant in (
        ("In this state since", since),
        ("Last heard of", standing.last_activity_at),
        ("Goodbye sent", standing.goodbye_sent_at),
        ("Goodbye ends", standing.goodbye_expires_at),
        ("To be reminded", standing.remind_at),
    ):
        if instant is not None:
            yield name, _date(instant, now=now)


def _date(instant: datetime, *, now: datetime) -> str:
    return f"{date_in_words(instant)} ({relative(instant, now=now)})"


def _events(
    moves: Sequence[Move], entries: Sequence[LogEntry], *, now: datetime, plain: bool, links_runs: bool
) -> list[Event]:
    # The latest first, and so they stay where several are of one instant.
    events = [_move(move, now=now, plain=plain, links_runs=links_runs) for move in reversed(moves)]
    events += [_act(entry, now=now) for entry in entries]
    return sorted(events, key=lambda event: event.at or LONG_AGO, reverse=True)


def _event(at: datetime | None, title: str, notes: Sequence[Note], *, now: datetime) -> Event:
    return Event(at, title, notes, relative(at, now=now), date_in_words(at))


def _act(entry: LogEntry, *, now: datetime) -> Event:
    by = Note(f"by {entry.user.get_username()}")
    return _event(entry.action_time, entry.change_message, [by], now=now)


def _move(move: Move, *, now: datetime, plain: bool, links_runs: bool) -> Event:
    # Other programs may have put anything there.
    told: dict[str, Any] = move.metadata if isinstance(move.metadata, dict) else {}
    person = told.get("performed_by")
    reason = "Brought back by hand" if person else Trigger(move.trigger).label
    title = f"{reason}: {State(move.from_state).label} → {State(move.to_state).label}"
    notes = [
        Note(shown_text(note.text, plain=plain), note.url if links_runs else "") for note in _notes(told)
    ]
    if person:
        # A colleague's name, which may be an e-mail address, is for all to see.
        notes.append(Note(f"by {person}"))
    return _event(move.created_at, title, notes, now=now)


def _notes(told: dict[str, Any]) -> Iterator[Note]:
    if isinstance(days := told.get("days_inactive"), int):
        yield Note(f"silent for {counted(days, 'day')}")
    if isinstance(hours := told.get("hours_waited"), int):
        yield Note(f"{counted(hours, 'hour')} after the goodbye")
    if told.get("unprompted_return") is True:
        yield Note("came back unprompted")
    if "job_id" in told:
        yield Note(f"run {told['job_id']}", _page_of_run(told["job_id"]))
    if "undone_job_id" in told:
        yield Note(f"undid run {told['undone_job_id']}", _page_of_run(told["undone_job_id"]))


def _page_of_run(job_id: object) -> str:
    try:
        return reverse("admin:engagement_engagementjobrun_change", args=(UUID(str(job_id)),))
    except ValueError:
        return ""


def _shown(message: EngagementMessage, *, locale: str | None, now: datetime, plain: bool) -> ShownMessage:
    verb = "sent" if message.sent_at else "scheduled"
    instant = message.sent_at or message.scheduled_for
    return ShownMessage(
        row=message,
        color=colors.MESSAGES.get(message.get_status_display(), ""),
        text=shown_text(text_of(message, locale=locale), plain=plain),
        address=shown_address(message.destination_jid, plain=plain),
        error=shown_text(message.error_message, plain=plain),
        when=f"{verb} {relative(instant, now=now)}, {date_in_words(instant)}",
        retries=f"tried again {counted(retries, 'time')}" if (retries := message.retry_count) else "",
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
