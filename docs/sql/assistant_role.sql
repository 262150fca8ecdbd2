-- A database user for programs that process users' messages: receive_message, load_activity_log, and the
-- same services in your own program; also for explain_engagement, forecast_engagement and
-- undo_engagement_run.
--
--     psql --dbname engagement --file docs/sql/assistant_role.sql
--     psql --dbname engagement --command '\password engagement_assistant'
--
-- Run it as the owner of the tables, who needs CREATEROLE the first time, after every `manage.py migrate`.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'engagement_assistant') THEN
        CREATE ROLE engagement_assistant LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO engagement_assistant;

-- load_activity_log adds users; opting out and in updates these columns.
GRANT SELECT, INSERT, UPDATE (reengagement_opt_out, opt_out_changed_at, opt_out_source, updated_at)
    ON user_profiles TO engagement_assistant;

-- A first message creates the state row; every message updates it.
GRANT SELECT, INSERT,
    UPDATE (state, last_activity_at, goodbye_sent_at, goodbye_expires_at, remind_at, updated_at)
    ON user_engagement_states TO engagement_assistant;

-- Add to the audit log, and read the effect of earlier messages. No updates.
GRANT SELECT, INSERT ON engagement_state_transitions TO engagement_assistant;

-- Recognise repeated messages by their id. Who opts in again is taken off the suppression list.
GRANT SELECT, INSERT, DELETE, UPDATE (created_at) ON engagement_inbound_messages TO engagement_assistant;
GRANT SELECT, DELETE ON engagement_suppressed_addresses TO engagement_assistant;

-- Queue and cancel messages; claim them and mark them as sent, if your program is the sender. Undoing a run
-- also frees the key of a cancelled goodbye.
GRANT SELECT, INSERT,
    UPDATE (status, idempotency_key, outcome_reason, destination_jid, backend, provider_message_id, attempt_id,
        claimed_at, claim_expires_at, next_attempt_at, sent_at, delivered_at, read_at, failed_at, retry_count,
        error_code, error_message, lease_request_id)
    ON engagement_message_queue TO engagement_assistant;

-- A receipt may pause sending; a sender of your own keeps the pace.
GRANT SELECT, INSERT, UPDATE (paused_until, pause_reason, next_slot_at, slowed_until, resumed_at, updated_at)
    ON engagement_sending_channels TO engagement_assistant;
