"""Thousands of rows in a moment."""

from __future__ import annotations

from django.db import connection

from tests.database import execute
from tests.factories import NOW

_FILL = """
    INSERT INTO user_profiles (user_id, whatsapp_jid)
    SELECT gen_random_uuid(), '9990000' || number || '@s.whatsapp.net'
    FROM generate_series(1, %(count)s) AS number;

    INSERT INTO user_engagement_states (user_id, state, last_activity_at)
    SELECT user_id, 'dormant', %(now)s::timestamptz - interval '40 days' FROM user_profiles
    ON CONFLICT DO NOTHING;

    INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger, created_at)
    SELECT user_id, 'goodbye_sent', 'dormant', 'goodbye_timeout', %(now)s::timestamptz - interval '3 days'
    FROM user_profiles;

    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, status, idempotency_key)
    SELECT user_id, 'goodbye', 'engagement.goodbye.self_select', 'individual', whatsapp_jid,
        'failed', gen_random_uuid()::text
    FROM user_profiles;

    INSERT INTO engagement_job_runs (status, finished_at)
    SELECT 'succeeded', now() FROM generate_series(1, %(count)s)
"""


def fill_tables(count: int) -> None:
    """Add `count` users, each with a state, a transition and a message, and as many runs."""
    with connection.cursor() as cursor:
        for statement in _FILL.split(";"):
            cursor.execute(statement, {"count": count, "now": NOW})


def fill_history_of(user_id: object, count: int) -> None:
    """Add `count` transitions and messages to a user."""
    execute(
        "INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger, metadata)"
        " SELECT %s, 'active', 'goodbye_sent', 'inactivity_14d', '{\"days_inactive\": 15}'"
        " FROM generate_series(1, %s)",
        user_id,
        count,
    )
    execute(
        "INSERT INTO engagement_message_queue"
        " (user_id, message_type, message_key, destination, destination_jid, idempotency_key)"
        " SELECT %s, 'goodbye', 'engagement.goodbye.self_select', 'individual', '9990000', gen_random_uuid()"
        " FROM generate_series(1, %s)",
        user_id,
        count,
    )
