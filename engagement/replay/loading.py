"""Fills the tables from an activity log: a profile and a state row for each of its users."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from django.db import transaction

from engagement.models import UserEngagementState, UserProfile
from engagement.replay.activity_log import DEFAULT_LOCALE, open_activity_log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from engagement.replay.activity_log import Event

ACTIVITY_LOG_NAMESPACE: Final = UUID("792433fe-d160-46f0-9a1f-1fd62149906c")
"""It never changes: the ids of all loaded users follow from it."""

MAX_SKEW: Final = timedelta(minutes=5)
"""How far the clock of the program that wrote the log may be ahead of ours."""

PROFILE_COLUMNS: Final = ("locale", "whatsapp_jid", "reengagement_opt_out")

CHUNK_SIZE: Final = 2_000
"""Users per statement: few round trips, and statements of a moderate size."""


@dataclass(frozen=True, slots=True)
class LoadedActivityLog:
    """The contents of the file, and what was added.

    `users` is the sum of `states_created`, `already_known` and `not_here_yet`.
    """

    events: int
    users: int
    profiles_created: int
    states_created: int
    already_known: int
    """Users who had a state row, which was not changed."""
    not_here_yet: int
    """Users whose first event is later than `as_of`."""
    ahead_of_clock: int
    """Events that count as now, because another clock was ahead of ours."""
    ignored_columns: tuple[str, ...]


def user_id_of(user: str) -> UUID:
    """The id of the user whom an activity log calls `user`: the same in every log."""
    return uuid5(ACTIVITY_LOG_NAMESPACE, user)


def load_activity_log(*, path: Path, as_of: datetime | None, now: datetime) -> LoadedActivityLog:
    """Add the users of the log at `path` as active since their last event up to `as_of` (aware).

    Without `as_of`, events up to `MAX_SKEW` after `now` count as now: another clock may be ahead of ours.
    The last event that says something about the profile counts, column by column; of two at the same
    time, the later line does. State rows and profiles that exist are not changed. `now` becomes
    `created_at` and `updated_at` of the new rows.
    Transaction: opens one after the whole file is read; all users are added or none.
    Repeatable, also concurrently. Raises MalformedActivityLog.
    """
    events = ahead_of_clock = profiles_created = states_created = 0
    latest: dict[str, _Latest] = {}
    users = set()
    end = as_of or now + MAX_SKEW
    with open_activity_log(path) as log:
        for event in log.events:
            events += 1
            users.add(event.user)
            if event.occurred_at <= end:
                ahead_of_clock += as_of is None and event.occurred_at > now
                latest.setdefault(event.user, _Latest(event)).take(event)
    # Sorted, so that two loaders lock rows in the same order.
    rows = sorted((user_id_of(user), found.event(latest_at=as_of or now)) for user, found in latest.items())
    with transaction.atomic():
        for start in range(0, len(rows), CHUNK_SIZE):
            profiles, states = _add(dict(rows[start : start + CHUNK_SIZE]), now=now)
            profiles_created += profiles
            states_created += states
    return LoadedActivityLog(
        events=events,
        users=len(users),
        profiles_created=profiles_created,
        states_created=states_created,
        already_known=len(latest) - states_created,
        not_here_yet=len(users) - len(latest),
        ahead_of_clock=ahead_of_clock,
        ignored_columns=log.ignored_columns,
    )


class _Latest:
    """The last event of a user, and the last values of each column of the profile, whatever their order."""

    def __init__(self, event: Event) -> None:
        self._last = event
        self._saying: dict[str, Event] = {}

    def take(self, event: Event) -> None:
        if event.occurred_at >= self._last.occurred_at:
            self._last = event
        for column in PROFILE_COLUMNS:
            known = self._saying.get(column)
            if getattr(event, column) is not None and (
                known is None or event.occurred_at >= known.occurred_at
            ):
                self._saying[column] = event

    def event(self, *, latest_at: datetime) -> Event:
        """The last event, not after `latest_at`, with the last values of each column."""
        values = {column: getattr(event, column) for column, event in self._saying.items()}
        return replace(self._last, occurred_at=min(self._last.occurred_at, latest_at), **values)


def _add(users: Mapping[UUID, Event], *, now: datetime) -> tuple[int, int]:
    """Add the users who have no state row, in five statements; returns the new profiles and states.

    Rows that another program adds meanwhile stay and are not counted.
    """
    states, profiles = UserEngagementState.objects, UserProfile.objects
    known = set(states.filter(user_id__in=users).values_list("user_id", flat=True))
    missing = {user_id: event for user_id, event in users.items() if user_id not in known}
    with_profile = set(profiles.filter(user_id__in=missing).values_list("user_id", flat=True))
    profiles.bulk_create(
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
    """An unsaved profile with what an event says about its user."""
    return UserProfile(
        user_id=user_id,
        locale=event.locale or DEFAULT_LOCALE,
        whatsapp_jid=event.whatsapp_jid,
        reengagement_opt_out=bool(event.reengagement_opt_out),
        created_at=now,
        updated_at=now,
    )
