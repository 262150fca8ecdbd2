"""Fills the tables from an activity log: a profile and a state row for each of its users."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID, uuid5

import uuid_utils
from django.db import connection, transaction

from engagement.replay.activity_log import DEFAULT_LOCALE, open_activity_log

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path
    from typing import TextIO

    from engagement.replay.activity_log import Event

ACTIVITY_LOG_NAMESPACE: Final = UUID("792433fe-d160-46f0-9a1f-1fd62149906c")
"""It never changes: the ids of all loaded users follow from it."""
_NAMESPACE: Final = uuid_utils.UUID(str(ACTIVITY_LOG_NAMESPACE))

MAX_SKEW: Final = timedelta(minutes=5)
"""How far the clock of the program that wrote the log may be ahead of ours."""

_COPIED_AT_ONCE: Final = 1 << 18
"""Characters."""


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
    `created_at` and `updated_at` of the new rows. Both tables are analyzed, if the database user may do so.
    Transaction: opens one after the whole file is read; all users are added or none.
    Repeatable, also concurrently. The memory that it takes does not depend on the size of the log, which
    passes through a temporary file. Raises MalformedActivityLog, and OSError if that file cannot be written.
    """
    with (
        open_activity_log(path) as log,
        TemporaryFile("w+", encoding="utf-8", newline="", prefix="activity-log-") as rows,
    ):
        events, ahead_of_clock = _write_rows(log.events, rows, as_of=as_of, now=now)
        added = _add_users(rows, latest_at=as_of or now, now=now)
    return LoadedActivityLog(
        events=events,
        users=added.users,
        profiles_created=added.profiles,
        states_created=added.states,
        already_known=added.here - added.states,
        not_here_yet=added.users - added.here,
        ahead_of_clock=ahead_of_clock,
        ignored_columns=log.ignored_columns,
    )


class _Added(NamedTuple):
    """How many users the log has, how many of them have an event that counts, and the new rows."""

    users: int
    here: int
    profiles: int
    states: int


def _add_users(rows: TextIO, *, latest_at: datetime, now: datetime) -> _Added:
    """Add the users who have no state row, by the database alone: no user passes through Python.

    Rows that another program adds meanwhile stay and are not counted.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_WITHOUT_LIMITS)
        cursor.execute(_CREATE_EVENTS)
        _copy(rows)
        cursor.execute(_CREATE_USERS)
        cursor.execute(_COUNT_USERS)
        users, here = cursor.fetchone()
        cursor.execute(_ADD_PROFILES, {"now": now, "locale": DEFAULT_LOCALE})
        profiles = cursor.rowcount
        start_of_ids = str(uuid_utils.uuid7())[:-8]
        cursor.execute(_ADD_STATES, {"now": now, "latest_at": latest_at, "start_of_ids": start_of_ids})
        states = cursor.rowcount
        cursor.execute(_DROP_BOTH)
        # Otherwise PostgreSQL would plan a run that follows at once for the tables as they were.
        cursor.execute("ANALYZE (SKIP_LOCKED) user_profiles, user_engagement_states")
    return _Added(users, here, profiles, states)


def _write_rows(
    events: Iterable[Event], rows: TextIO, *, as_of: datetime | None, now: datetime
) -> tuple[int, int]:
    """Write the events as `_COPY` reads them; returns how many they are, and how many are ahead of the clock.

    Of an event after the end only the user counts.
    """
    end = as_of or now + MAX_SKEW
    write = csv.writer(rows).writerow
    line = ahead_of_clock = 0
    for line, event in enumerate(events, start=1):
        user_id = uuid_utils.uuid5(_NAMESPACE, event.user)  # as user_id_of, and six times as fast
        if event.occurred_at <= end:
            ahead_of_clock += as_of is None and event.occurred_at > now
            said = (event.locale, event.whatsapp_jid, event.reengagement_opt_out)
            write((line, user_id, event.occurred_at, *said))
        else:
            write((line, user_id, None, None, None, None))
    return line, ahead_of_clock


def _copy(rows: TextIO) -> None:
    rows.seek(0)
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for chunk in iter(partial(rows.read, _COPIED_AT_ONCE), ""):
            copy.write(chunk)


_WITHOUT_LIMITS: Final = """
    SELECT set_config(name, '0', true) FROM pg_settings
    -- The last one is new in PostgreSQL 17.
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
_CREATE_EVENTS: Final = """
    CREATE TEMPORARY TABLE loaded_events (
        line bigint, user_id uuid, occurred_at timestamptz,
        locale text, whatsapp_jid text, reengagement_opt_out boolean
    ) ON COMMIT DROP
"""
_COPY: Final = "COPY pg_temp.loaded_events FROM STDIN (FORMAT csv)"

_CREATE_USERS: Final = """
    CREATE TEMPORARY TABLE loaded_users ON COMMIT DROP AS
    SELECT
        user_id,
        max(occurred_at) AS last_activity_at,
        (array_agg(locale ORDER BY occurred_at DESC, line DESC)
            FILTER (WHERE locale IS NOT NULL))[1] AS locale,
        (array_agg(whatsapp_jid ORDER BY occurred_at DESC, line DESC)
            FILTER (WHERE whatsapp_jid IS NOT NULL))[1] AS whatsapp_jid,
        (array_agg(reengagement_opt_out ORDER BY occurred_at DESC, line DESC)
            FILTER (WHERE reengagement_opt_out IS NOT NULL))[1] AS reengagement_opt_out
    FROM pg_temp.loaded_events
    GROUP BY user_id
"""
_COUNT_USERS: Final = "SELECT count(*), count(last_activity_at) FROM pg_temp.loaded_users"

# In the order of the ids, so that two loaders lock rows in the same order.
_NEW_USERS: Final = """
    FROM pg_temp.loaded_users AS loaded
    WHERE last_activity_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM user_engagement_states AS known WHERE known.user_id = loaded.user_id)
    ORDER BY user_id
    ON CONFLICT DO NOTHING
"""
_ADD_PROFILES: Final = f"""
    INSERT INTO user_profiles (
        user_id, whatsapp_jid, preferred_destination, locale, reengagement_opt_out, created_at, updated_at
    )
    SELECT
        user_id, whatsapp_jid, 'individual', coalesce(locale, %(locale)s),
        coalesce(reengagement_opt_out, false), %(now)s, %(now)s
    {_NEW_USERS}
"""
# The ids of one load share the start of a version 7 id and number the rows in their last 32 bits. So the
# rows arrive in the order of the index, and none needs a random number.
_ADD_STATES: Final = f"""
    INSERT INTO user_engagement_states (id, user_id, state, last_activity_at, created_at, updated_at)
    SELECT
        (%(start_of_ids)s || lpad(to_hex(row_number() OVER (ORDER BY user_id)), 8, '0'))::uuid,
        user_id, 'active', least(last_activity_at, %(latest_at)s), %(now)s, %(now)s
    {_NEW_USERS}
"""
_DROP_BOTH: Final = "DROP TABLE pg_temp.loaded_events, pg_temp.loaded_users"
