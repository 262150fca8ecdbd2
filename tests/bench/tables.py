"""The rows of the benchmark: the same for every contender, and proof that all left the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.db import connection

NOW: Final = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)

TABLES: Final = (
    "engagement_message_queue",
    "engagement_state_transitions",
    "user_engagement_states",
    "user_profiles",
)

_FILL_PROFILES: Final = """
    INSERT INTO user_profiles (user_id, whatsapp_jid)
    SELECT md5('user' || number)::uuid, '9990000' || number || '@s.whatsapp.net'
    FROM generate_series(1, %s) AS number
"""

_FILL_STATES: Final = """
    INSERT INTO user_engagement_states (user_id, last_activity_at)
    SELECT
        md5('user' || number)::uuid,
        CASE WHEN number <= %(due)s
            THEN %(now)s::timestamptz - interval '15 days' - interval '1 second' * (number * 7919 %% 31536000)
            ELSE %(now)s::timestamptz - interval '1 second' * (number * 7919 %% 1036800)
        END
    FROM generate_series(1::bigint, %(users)s) AS number
"""

# Ids and the times that only the database knows are left out; that the audit log names the goodbye is not.
_FINGERPRINT: Final = """
    SELECT
        (SELECT count(*)::text || ':' || coalesce(sum(hashtextextended(concat_ws('|',
            user_id, state, last_activity_at, goodbye_sent_at, goodbye_expires_at, remind_at), 0)), 0)
         FROM user_engagement_states),
        (SELECT count(*)::text || ':' || coalesce(sum(hashtextextended(concat_ws('|',
            user_id, from_state, to_state, trigger, metadata - '{job_id,goodbye_message_id}'::text[],
            created_at), 0)), 0)
         FROM engagement_state_transitions),
        (SELECT count(*)::text
         FROM engagement_state_transitions AS moved
         JOIN engagement_message_queue AS queued ON moved.metadata->>'goodbye_message_id' = queued.id::text
         WHERE moved.user_id = queued.user_id),
        (SELECT count(*)::text || ':' || coalesce(sum(hashtextextended(concat_ws('|',
            user_id, message_type, message_key, message_params, destination, destination_jid,
            scheduled_for, status, retry_count, idempotency_key, created_at), 0)), 0)
         FROM engagement_message_queue)
"""


def fill(*, users: int, due: int) -> None:
    """Empty the tables, put `users` into them of whom `due` are due, and let PostgreSQL come to rest."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(TABLES)}")
        cursor.execute(_FILL_PROFILES, [users])
        cursor.execute(_FILL_STATES, {"users": users, "due": due, "now": NOW})
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute("CHECKPOINT")


def fingerprint() -> tuple[str, ...]:
    """What the tables hold, in short: equal if and only if the rows are."""
    with connection.cursor() as cursor:
        cursor.execute(_FINGERPRINT)
        return tuple(cursor.fetchone())


def count_moved() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM engagement_state_transitions")
        return int(cursor.fetchone()[0])
