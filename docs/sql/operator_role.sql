-- A database user for people who erase users and purge history: erase_engagement_user and
-- purge_engagement_history.
--
--     psql --dbname engagement --file docs/sql/operator_role.sql
--     psql --dbname engagement --command '\password engagement_operator'
--
-- Run it as the owner of the tables, who needs CREATEROLE the first time, after every `manage.py migrate`; then
-- set DATABASE_URL to this user for these two commands alone.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'engagement_operator') THEN
        CREATE ROLE engagement_operator LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO engagement_operator;

-- Erasing deletes the profile and the state. UPDATE locks them first.
GRANT SELECT, DELETE, UPDATE (updated_at) ON user_profiles, user_engagement_states TO engagement_operator;

-- Erasing lets these rows name a random id instead of the user's, and removes what holds an address or a number.
-- Purging deletes them.
GRANT SELECT, DELETE, UPDATE (user_id, metadata) ON engagement_state_transitions TO engagement_operator;
GRANT SELECT, DELETE,
    UPDATE (user_id, idempotency_key, destination_jid, message_params, provider_message_id, error_code,
        error_message, next_attempt_at, status, outcome_reason)
    ON engagement_message_queue TO engagement_operator;
GRANT SELECT, DELETE, UPDATE (errors) ON engagement_job_runs TO engagement_operator;
GRANT SELECT, DELETE, UPDATE (created_at) ON engagement_inbound_messages TO engagement_operator;

-- The address is kept as a digest.
GRANT SELECT, INSERT, UPDATE (created_at) ON engagement_suppressed_addresses TO engagement_operator;

-- If row-level security is on for these tables. Without a policy the commands would find nobody, and say so.
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON user_profiles;
CREATE POLICY engagement_operator ON user_profiles TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON user_engagement_states;
CREATE POLICY engagement_operator ON user_engagement_states TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON engagement_state_transitions;
CREATE POLICY engagement_operator ON engagement_state_transitions TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON engagement_message_queue;
CREATE POLICY engagement_operator ON engagement_message_queue TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON engagement_job_runs;
CREATE POLICY engagement_operator ON engagement_job_runs TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON engagement_inbound_messages;
CREATE POLICY engagement_operator ON engagement_inbound_messages TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_operator ON engagement_suppressed_addresses;
CREATE POLICY engagement_operator ON engagement_suppressed_addresses TO engagement_operator USING (true) WITH CHECK (true);
COMMIT;

-- What staff did to the user, where there is the admin.
DO $$
BEGIN
    IF to_regclass('django_admin_log') IS NOT NULL THEN
        GRANT SELECT, UPDATE (object_id, object_repr, change_message) ON django_admin_log TO engagement_operator;
        DROP POLICY IF EXISTS engagement_operator ON django_admin_log;
        CREATE POLICY engagement_operator ON django_admin_log TO engagement_operator USING (true) WITH CHECK (true);
    END IF;
END
$$;
