-- The least that PostgreSQL can do: every due user in one statement, by hand.
WITH due AS MATERIALIZED (
    SELECT states.user_id, states.last_activity_at, profiles.preferred_destination, profiles.whatsapp_jid
    FROM user_engagement_states AS states
    JOIN user_profiles AS profiles USING (user_id)
    WHERE states.state = 'active'
      AND states.last_activity_at < %(now)s::timestamptz - interval '14 days'
      AND NOT profiles.reengagement_opt_out
      AND profiles.whatsapp_jid <> ''
), queued AS (
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, scheduled_for,
         idempotency_key, created_at)
    SELECT
        user_id, 'goodbye', 'engagement.goodbye.self_select', preferred_destination, whatsapp_jid,
        %(now)s::timestamptz,
        user_id || ':goodbye_sent:' || to_char(%(now)s::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        %(now)s::timestamptz
    FROM due
    ON CONFLICT DO NOTHING
    RETURNING id, user_id
), moved AS (
    UPDATE user_engagement_states AS states
    SET state = 'goodbye_sent',
        goodbye_sent_at = %(now)s::timestamptz,
        goodbye_expires_at = %(now)s::timestamptz + interval '48 hours',
        remind_at = NULL,
        updated_at = %(now)s::timestamptz
    FROM queued
    WHERE states.user_id = queued.user_id
)
INSERT INTO engagement_state_transitions
    (user_id, from_state, to_state, trigger, metadata, created_at)
SELECT
    user_id, 'active', 'goodbye_sent', 'inactivity_14d',
    jsonb_build_object(
        'job_id', %(job_id)s::text,
        'days_inactive', floor(extract(epoch FROM %(now)s::timestamptz - last_activity_at) / 86400)::int,
        'trigger_source', 'scheduler',
        'goodbye_message_id', queued.id
    ),
    %(now)s::timestamptz
FROM queued
JOIN due USING (user_id)
