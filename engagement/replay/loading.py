"""Fills the tables from an activity log: a profile and a state row for everybody who is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from django.db import transaction

from engagement.models import UserEngagementState, UserProfile
from engagement.replay.activity_log import open_activity_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from engagement.replay.activity_log import Event

ACTIVITY_LOG_NAMESPACE: Final = UUID("792433fe-d160-46f0-9a1f-1fd62149906c")
"""The project's own. It never changes: the ids of all loaded users follow from it."""

CHUNK_SIZE: Final = 2_000
"""Users per statement: enough to make the round trips cheap, few enough to keep the statements small."""


@dataclass(frozen=True, slots=True)
class LoadedActivityLog:
    """What was in the file and what became of it.

    Every one of `users` is counted once in `states_created`, `already_known` or `not_here_yet`.
    """

    events: int
    users: int
    profiles_created: int
    states_created: int
    already_known: int
    """Had a state row, which was left as it was."""
    not_here_yet: int
    """Did nothing until after `as_of`."""
    ignored_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Contents:
    """What is in the file."""

    events: int
    latest: Mapping[str, Event]
    """By user: the latest event not after `as_of`."""
    not_here_yet: int
    ignored_columns: tuple[str, ...]


def user_id_of(user: str) -> UUID:
    """The id of the user whom an activity log calls `user`: the same in every log and every run."""
    return uuid5(ACTIVITY_LOG_NAMESPACE, user)


def load_activity_log(*, path: Path, as_of: datetime, now: datetime) -> LoadedActivityLog:
    """Add the users of the log at `path` as they were at `as_of` (aware): active since their last event.

    `now` becomes `created_at` and `updated_at` of the new rows.

    What a user's latest event not after `as_of` says of them holds; of two at the same time, the
    later line. Whoever has a state row is left alone, and so is a profile that is there already.

    Reads the whole file first, then opens one transaction; all users are added or none. May be
    repeated, and run beside itself. Raises MalformedActivityLog.
    """
    contents = _read(path, as_of=as_of)
    # In one order for everybody, or two loaders could wait for each other.
    people = sorted((user_id_of(user), event) for user, event in contents.latest.items())
    profiles_created = states_created = 0
    with transaction.atomic():
        for chunk in _chunks(people):
            profiles, states = _add(chunk, now=now)
            profiles_created += profiles
            states_created += states
    return LoadedActivityLog(
        events=contents.events,
        users=len(people) + contents.not_here_yet,
        profiles_created=profiles_created,
        states_created=states_created,
        already_known=len(people) - states_created,
        not_here_yet=contents.not_here_yet,
        ignored_columns=contents.ignored_columns,
    )


def _read(path: Path, *, as_of: datetime) -> _Contents:
    """Keep one event per user: a log may be much longer than the list of its users."""
    events = 0
    latest: dict[str, Event] = {}
    seen_later: set[str] = set()
    with open_activity_log(path) as log:
        for event in log.events:
            events += 1
            if event.occurred_at > as_of:
                seen_later.add(event.user)
                continue
            known = latest.get(event.user)
            if known is None or event.occurred_at >= known.occurred_at:
                latest[event.user] = event
    return _Contents(events, latest, len(seen_later - latest.keys()), log.ignored_columns)


def _chunks(people: list[tuple[UUID, Event]]) -> Iterator[dict[UUID, Event]]:
    for start in range(0, len(people), CHUNK_SIZE):
        yield dict(people[start : start + CHUNK_SIZE])


def _add(people: Mapping[UUID, Event], *, now: datetime) -> tuple[int, int]:
    """Add those who have no state row; five statements. How many profiles and state rows were added.

    Other programs may add the same users meanwhile: their rows stay and are not counted. A profile
    counts as added if it was missing before and its state row is one of ours.
    """
    states = UserEngagementState.objects
    known = set(states.filter(user_id__in=people).values_list("user_id", flat=True))
    missing = {user_id: event for user_id, event in people.items() if user_id not in known}
    with_profile = set(UserProfile.objects.filter(user_id__in=missing).values_list("user_id", flat=True))
    UserProfile.objects.bulk_create(
        [profile_of(user_id, event, now=now) for user_id, event in missing.items()], ignore_conflicts=True
    )
    rows = [
        UserEngagementState(
            user_id=user_id, last_activity_at=event.occurred_at, created_at=now, updated_at=now
        )
        for user_id, event in missing.items()
    ]
    states.bulk_create(rows, ignore_conflicts=True)
    added = set(states.filter(id__in=[row.id for row in rows]).values_list("user_id", flat=True))
    return len(added - with_profile), len(added)


def profile_of(user_id: UUID, event: Event, *, now: datetime) -> UserProfile:
    """What an event says of its user, as a profile that is yet to be stored."""
    return UserProfile(
        user_id=user_id,
        locale=event.locale,
        whatsapp_jid=event.whatsapp_jid,
        reengagement_opt_out=event.reengagement_opt_out,
        created_at=now,
        updated_at=now,
    )
