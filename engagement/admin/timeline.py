"""What happened to a user: their moves, and what was done for them by hand, in the order of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html

from engagement.admin.masking import shown_person, shown_text
from engagement.admin.words import relative
from engagement.formatting import count_text, date_text
from engagement.selectors import user_search as people_selectors
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from django.contrib.admin.models import LogEntry

    from engagement.admin.visibility import Sight
    from engagement.selectors.user_history import TransitionRecord

LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

_MESSAGE_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


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


def timeline(
    moves: Sequence[TransitionRecord], acts: Sequence[LogEntry], *, now: datetime, sight: Sight
) -> list[Event]:
    """The moves (the first one first) and what was done by hand (the latest first), the latest first."""
    accounts = people_selectors.accounts_among(move.performed_by for move in moves)
    # So they stay where several are of one instant.
    events = [_move(move, now=now, sight=sight, accounts=accounts) for move in reversed(moves)]
    events += [_act(entry, now=now, sight=sight) for entry in acts]
    return sorted(events, key=lambda event: event.at or LONG_AGO, reverse=True)


def _event(at: datetime | None, title: str, notes: Sequence[Note], *, now: datetime) -> Event:
    return Event(at, title, notes, relative(at, now=now), date_text(at))


def _act(entry: LogEntry, *, now: datetime, sight: Sight) -> Event:
    by = Note(f"by {entry.user.get_username()}")
    title = _linked(entry.change_message) if sight.messages else entry.change_message
    return _event(entry.action_time, title, [by], now=now)


def _linked(sentence: str) -> str:
    """The sentence on an act, with a link to the message that it names by id."""
    found = _MESSAGE_ID.search(sentence)
    if found is None:
        return sentence
    url = reverse("admin:engagement_engagementmessage_change", args=(found.group(),))
    link = format_html('<a class="engagement-link" href="{}">{}</a>', url, found.group())
    return format_html("{}{}{}", sentence[: found.start()], link, sentence[found.end() :])


def _move(move: TransitionRecord, *, now: datetime, sight: Sight, accounts: Collection[str]) -> Event:
    reason = "Brought back by hand" if move.is_manual else Trigger(move.trigger).label
    title = f"{reason}: {State(move.from_state).label} → {State(move.to_state).label}"
    notes = [
        Note(shown_text(note.text, plain=sight.contacts), note.url if sight.runs else "")
        for note in _notes(move)
    ]
    if person := shown_person(move.performed_by, plain=sight.contacts, accounts=accounts):
        notes.append(Note(f"by {person}"))
    return _event(move.created_at, title, notes, now=now)


def _notes(move: TransitionRecord) -> Iterator[Note]:
    # Other programs may have put anything there.
    told: dict[str, Any] = move.metadata if isinstance(move.metadata, dict) else {}
    if isinstance(days := told.get("days_inactive"), int):
        yield Note(f"silent for {count_text(days, 'day')}")
    if isinstance(hours := told.get("hours_waited"), int):
        yield Note(f"{count_text(hours, 'hour')} after the goodbye")
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
