"""The history of a user: transitions, support actions, opt-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from engagement.admin import links
from engagement.admin.labels import relative
from engagement.admin.manual_actions import shown_action
from engagement.admin.masking import json_text, shown_person, shown_text
from engagement.admin.people.names import MAX_LENGTH, short_id
from engagement.formatting import GOODBYE_NOTES, count_text
from engagement.local_times import shown_time
from engagement.selectors.user_search import account_names_among
from engagement.services.preferences import PreferenceSource
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from django.contrib.admin.models import LogEntry

    from engagement.admin.masking import Visibility
    from engagement.models import UserProfile
    from engagement.selectors.user_history import TransitionRecord

MAX_SHOWN: Final = 50
"""The latest transitions, messages and support actions. The lists have the others."""

OPTED_OUT: Final = {
    PreferenceSource.MESSAGE.value: _("Opted out by message"),
    PreferenceSource.API.value: _("Opted out by another program"),
    PreferenceSource.PROVIDER.value: _("Opted out, as WhatsApp reports"),
    PreferenceSource.SUPPRESSION.value: _("Opted out: the address belongs to a user who was erased"),
    "": _("Opted out"),
}
OPTED_IN: Final = {
    PreferenceSource.MESSAGE.value: _("Opted in by message"),
    PreferenceSource.API.value: _("Opted in by another program"),
    PreferenceSource.PROVIDER.value: _("Opted in, as WhatsApp reports"),
    "": _("Opted in"),
}


class Note(NamedTuple):
    """A detail of an event, with a link to a page that has more."""

    text: str
    url: str = ""
    title: str = ""
    """The whole id, where the text has a short one."""


class Event(NamedTuple):
    """A transition or a support action."""

    at: datetime
    title: str
    notes: Sequence[Note]
    date: str


def history(
    profile: UserProfile | None,
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
    events += _preference_events(profile, actions, now=now)
    events.sort(key=lambda event: event.at, reverse=True)
    return [event for event in events if all(event.at >= cut for cut in cuts)]


def _preference_events(
    profile: UserProfile | None, actions: Sequence[LogEntry], *, now: datetime
) -> Iterator[Event]:
    """The last opt-out or opt-in, unless it is a support action and so has its own entry."""
    at = profile.opt_out_changed_at if profile else None
    if profile is None or at is None or profile.opt_out_source == PreferenceSource.SUPPORT:
        return
    if profile.opt_out_source is None and any(entry.action_time == at for entry in actions):
        return
    titles = OPTED_OUT if profile.reengagement_opt_out else OPTED_IN
    yield _event(at, str(titles.get(profile.opt_out_source or "", titles[""])), [], now=now)


def _event(at: datetime, title: str, notes: Sequence[Note], *, now: datetime) -> Event:
    return Event(at, title, notes, shown_time(at, note=relative(at, now=now)))


def _action_event(entry: LogEntry, *, now: datetime, visibility: Visibility) -> Event:
    by = Note(_("by %(name)s") % {"name": entry.user.get_username()})
    return _event(entry.action_time, shown_action(entry, visibility=visibility), [by], now=now)


def _transition_event(
    transition: TransitionRecord, *, now: datetime, visibility: Visibility, accounts: Collection[str]
) -> Event:
    reason = _("Marked as active") if transition.is_manual else Trigger(transition.trigger).label
    title = f"{reason}: {State(transition.from_state).label} → {State(transition.to_state).label}"
    unmasked = visibility.contacts
    # Other programs may store any JSON value.
    metadata: dict[str, Any] = transition.metadata if isinstance(transition.metadata, dict) else {}
    notes = [Note(shown_text(text, unmasked=unmasked)) for text in _facts(metadata)]
    for name, sentence in (("job_id", _("run %(id)s")), ("undone_job_id", _("undid run %(id)s"))):
        if job_id := metadata.get(name):
            notes.append(_run_note(str(sentence), job_id, visibility=visibility))
    if person := shown_person(transition.performed_by, unmasked=unmasked, accounts=accounts):
        notes.append(Note(_("by %(name)s") % {"name": person}))
    return _event(transition.created_at, title, notes, now=now)


def _facts(metadata: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(days := metadata.get("days_inactive"), int):
        yield _("inactive for %(period)s") % {"period": count_text(days, "day")}
    if isinstance(hours := metadata.get("hours_waited"), int):
        yield _("%(period)s after the goodbye") % {"period": count_text(hours, "hour")}
    if note := GOODBYE_NOTES.get(str(metadata.get("goodbye"))):
        yield str(note)
    if metadata.get("unprompted_return") is True:
        yield str(_("unprompted return"))


def _run_note(sentence: str, job_id: object, *, visibility: Visibility) -> Note:
    """A run by its short id, unmasked: eight digits of a UUID are not a phone number."""
    try:
        run = UUID(str(job_id))
    except ValueError:
        unmasked = visibility.contacts
        if isinstance(job_id, str):
            stored = shown_text(job_id, unmasked=unmasked)
        else:
            stored = json_text(job_id, unmasked=unmasked)
        return Note(sentence % {"id": Truncator(stored).chars(MAX_LENGTH)})
    url = links.run_url(run) if visibility.runs else ""
    return Note(sentence % {"id": short_id(run)}, url, str(run))
