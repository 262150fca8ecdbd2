"""Thousands of rows in a moment."""

from __future__ import annotations

from typing import Final

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

    INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger, created_at, metadata)
    SELECT user_id, 'goodbye_sent', 'dormant', 'goodbye_timeout', %(now)s::timestamptz - interval '3 days',
        jsonb_build_object('job_id', %(run_id)s::text)
    FROM user_profiles;

    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, status, idempotency_key)
    SELECT user_id, 'goodbye', 'engagement.goodbye.self_select', 'individual', whatsapp_jid,
        'failed', gen_random_uuid()::text
    FROM user_profiles;

    INSERT INTO engagement_job_runs (status, finished_at)
    SELECT 'succeeded', now() FROM generate_series(1, %(count)s);

    INSERT INTO django_admin_log
        (user_id, content_type_id, object_id, object_repr, action_flag, change_message, action_time)
    SELECT account.id, kind.id, user_profiles.user_id, '', 2, 'Opted out.', %(now)s
    FROM user_profiles, (SELECT id FROM auth_user LIMIT 1) AS account, django_content_type AS kind
    WHERE kind.model = 'userprofile'
"""
RUN_ID: Final = "00000000-0000-4000-8000-000000000001"
"""The run that made the transitions. The ledger does not have it."""


def fill_tables(count: int) -> None:
    """Add `count` users, each with a state, a transition, a message and a manual action; and as many runs.

    The manual actions are those of an account, if there is one.
    """
    with connection.cursor() as cursor:
        for statement in _FILL.split(";"):
            cursor.execute(statement, {"count": count, "now": NOW, "run_id": RUN_ID})


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
