"""Thousands of users of every kind, written with plain SQL in a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.acceptance.rows import take_snapshot
from tests.factories import NOW

if TYPE_CHECKING:
    import psycopg

    from tests.acceptance.rows import Snapshot


class Kind(NamedTuple):
    """A kind of users: how many for 100 due ones, and the SQL of their columns.

    In the SQL, `now` is the run's and `number` counts the users of the kind from one.
    """

    per_hundred: int
    state: str
    last_activity_at: str
    goodbye_expires_at: str = "NULL"
    remind_at: str = "NULL"
    opted_out: str = "false"
    jid: str = "'9990000' || lpad(number::text, 7, '0') || '@s.whatsapp.net'"


SILENT: Final = "now - interval '14 days' - number * interval '1 second'"
# Several users share an instant, as after an import.
SILENT_TOGETHER: Final = "now - interval '20 days' - number / 7 * interval '1 second'"
LONG_AGO: Final = "now - interval '40 days'"

DUE: Final = (
    Kind(40, "active", SILENT),
    Kind(20, "active", SILENT_TOGETHER, jid="'9990000' || number || '@g.us'"),
    Kind(12, "goodbye_sent", LONG_AGO, goodbye_expires_at="now - number * interval '1 microsecond'"),
    Kind(8, "goodbye_sent", LONG_AGO, goodbye_expires_at="now - interval '1 day'", opted_out="true"),
    Kind(12, "remind_later", LONG_AGO, remind_at="now - number * interval '1 microsecond'"),
    Kind(8, "remind_later", LONG_AGO, remind_at="now - interval '1 day'", jid="NULL"),
)
NOT_DUE: Final = (
    Kind(10, "active", "now - interval '14 days' + (number - 1) * interval '1 microsecond'"),
    Kind(5, "active", SILENT, opted_out="true"),
    Kind(3, "active", SILENT, jid="NULL"),
    Kind(2, "active", SILENT, jid="''"),
    Kind(1, "active", SILENT, jid="NULL", opted_out="true"),
    Kind(3, "goodbye_sent", LONG_AGO, goodbye_expires_at="now + (number - 1) * interval '1 microsecond'"),
    Kind(3, "remind_later", LONG_AGO, remind_at="now + (number - 1) * interval '1 microsecond'"),
    Kind(3, "help_flow", LONG_AGO),
    Kind(3, "dormant", LONG_AGO),
)

# Groups and individuals alternate. A goodbye lasts 48 hours.
_INSERT: Final = """
    WITH given AS (
        SELECT gen_random_uuid() AS user_id, number, %(now)s::timestamptz AS now
        FROM generate_series(1, %(count)s) AS number
    ), profiles AS (
        INSERT INTO user_profiles (user_id, whatsapp_jid, preferred_destination, reengagement_opt_out)
        SELECT user_id, {jid}, (ARRAY['individual', 'group'])[1 + number %% 2], {opted_out} FROM given
    )
    INSERT INTO user_engagement_states
        (user_id, state, last_activity_at, goodbye_sent_at, goodbye_expires_at, remind_at)
    SELECT user_id, '{state}', {last_activity_at},
        ({goodbye_expires_at})::timestamptz - interval '48 hours', {goodbye_expires_at}, {remind_at}
    FROM given
"""


# Users that got a goodbye earlier today, and whose state was restored from a backup since: their key is
# taken, and no second message may be queued.
_TAKE_KEYS: Final = """
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
    SELECT user_id, 'goodbye', 'of this morning', 'individual', 'nowhere',
        user_id || ':goodbye_sent:' || to_char(%(now)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')
    FROM user_engagement_states
    WHERE state = 'active' AND last_activity_at < %(now)s - interval '14 days'
    ORDER BY user_id LIMIT %(count)s
"""


def seed(connection: psycopg.Connection, *, due: int) -> None:
    """Store `due` due users, and others that are not due."""
    for kind in (*DUE, *NOT_DUE):
        count = due * kind.per_hundred // 100
        connection.execute(_INSERT.format_map(kind._asdict()), {"now": NOW, "count": count})
    connection.execute(_TAKE_KEYS, {"now": NOW, "count": due // 50})
    connection.execute("ANALYZE user_profiles, user_engagement_states")


def seeded(connection: psycopg.Connection, *, due: int) -> Snapshot:
    """The tables after `seed`."""
    seed(connection, due=due)
    return take_snapshot(connection)
