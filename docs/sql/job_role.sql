-- A database user for the daily job: what run_engagement_daily needs, and nothing else.
--
--     psql --dbname engagement --file docs/sql/job_role.sql
--     psql --dbname engagement --command '\password engagement_job'
--
-- Run it as the owner of the tables, after every `manage.py migrate`; then give cron a DATABASE_URL
-- with this user. The admin, `migrate` and `load_activity_log` need more and keep their own users.
-- A privilege that is missing ends a run with exit code 1 and a sentence that names the table.

CREATE ROLE engagement_job LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;

GRANT USAGE ON SCHEMA public TO engagement_job;

-- Who is due, where a goodbye goes, who opted out. UPDATE of one harmless column is what PostgreSQL
-- asks of whoever locks a row, which the job does so that no opt-out slips in between.
GRANT SELECT (user_id, whatsapp_jid, preferred_destination, reengagement_opt_out), UPDATE (updated_at)
    ON user_profiles TO engagement_job;

-- Move users. Not last_activity_at: only the user's own messages change that.
GRANT SELECT, UPDATE (state, goodbye_sent_at, goodbye_expires_at, remind_at, updated_at)
    ON user_engagement_states TO engagement_job;

-- Add to the audit log, and ask it whether a batch was committed whose answer was lost.
GRANT SELECT, INSERT ON engagement_state_transitions TO engagement_job;

-- Queue goodbyes, and see which of them are new. Not read what others are told.
GRANT SELECT (id), INSERT ON engagement_message_queue TO engagement_job;

-- Write down what each run did, and read what is usual. Not rewrite who did what, nor delete it.
GRANT SELECT, INSERT,
    UPDATE (status, last_seen_at, finished_at, succeeded, failed, skipped, skipped_by_reason, checks, errors, failure)
    ON engagement_job_runs TO engagement_job;
