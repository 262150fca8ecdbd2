-- A database user for the sender, with only the privileges that send_messages, pause_sending, resume_sending,
-- resolve_message, check_sending and receipts need.
--
--     psql --dbname engagement --file docs/sql/sender_role.sql
--     psql --dbname engagement --command '\password engagement_sender'
--
-- Run it as the owner of the tables, who needs CREATEROLE the first time, after every `manage.py migrate`; then
-- give the sender a DATABASE_URL with this user.

DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'engagement_sender') THEN
        CREATE ROLE engagement_sender LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO engagement_sender;

-- The address, the language, the time zone. The provider may report that a user wants no more messages.
GRANT SELECT, UPDATE (reengagement_opt_out, opt_out_changed_at, opt_out_source, updated_at)
    ON user_profiles TO engagement_sender;

-- The wait for an answer counts from the sending. States do not change.
GRANT SELECT, UPDATE (goodbye_expires_at)
    ON user_engagement_states TO engagement_sender;

-- The delivery of a message, and the address that it went to. Not its text, and not its user.
GRANT SELECT,
    UPDATE (status, outcome_reason, destination_jid, backend, provider_message_id, attempt_id, claimed_at,
        claim_expires_at, next_attempt_at, sent_at, delivered_at, read_at, failed_at, retry_count, error_code,
        error_message, lease_request_id)
    ON engagement_message_queue TO engagement_sender;

-- Addresses of people who were erased; a report of the runs for the metrics file.
GRANT SELECT ON engagement_suppressed_addresses, engagement_job_runs TO engagement_sender;

-- Pauses, and the pace that all senders share.
GRANT SELECT, INSERT, UPDATE (paused_until, pause_reason, next_slot_at, slowed_until, resumed_at, updated_at)
    ON engagement_sending_channels TO engagement_sender;
