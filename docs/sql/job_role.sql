-- A database user for the daily run, with only the privileges that run_engagement_daily needs.
--
--     psql --dbname engagement --file docs/sql/job_role.sql
--     psql --dbname engagement --command '\password engagement_job'
--
-- Run it as the owner of the tables, who needs CREATEROLE the first time, after every `manage.py migrate`; then
-- give cron a DATABASE_URL with this user. The admin, `migrate` and `load_activity_log` need more privileges and other users.
-- A missing privilege ends a run with exit code 1 and a sentence that names the table.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'engagement_job') THEN
        CREATE ROLE engagement_job LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO engagement_job;

-- Addresses and opt-outs. PostgreSQL requires UPDATE on a column to lock a row, which the run does so that
-- no opt-out is missed.
GRANT SELECT (user_id, whatsapp_jid, preferred_destination, reengagement_opt_out), UPDATE (updated_at)
    ON user_profiles TO engagement_job;

-- Move users. No update of last_activity_at: only the user's own messages change it.
GRANT SELECT, UPDATE (state, goodbye_sent_at, goodbye_expires_at, remind_at, updated_at)
    ON user_engagement_states TO engagement_job;

-- Add to the audit log, and find out whether a batch was committed if the answer was lost.
GRANT SELECT, INSERT ON engagement_state_transitions TO engagement_job;

-- Queue goodbyes, and see which of them are new. No reading of other messages.
GRANT INSERT,
    SELECT (id, user_id, message_type, status, idempotency_key, retry_count, created_at, scheduled_for, sent_at,
        claimed_at, claim_expires_at, next_attempt_at, delivered_at, read_at, failed_at, outcome_reason),
    UPDATE (status, outcome_reason)
    ON engagement_message_queue TO engagement_job;

-- Pauses, for the metrics file.
GRANT SELECT ON engagement_sending_channels TO engagement_job;

-- Record each run, and read earlier ones for the usual number of goodbyes. No deletion.
GRANT SELECT, INSERT,
    UPDATE (status, last_seen_at, finished_at, succeeded, failed, skipped, skipped_by_reason, checks, errors, failure,
        still_due)
    ON engagement_job_runs TO engagement_job;
