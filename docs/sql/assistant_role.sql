-- A database user for what takes users' messages in: receive_message, load_activity_log, and the
-- services behind them in a program of yours; also for explain_engagement, forecast_engagement and
-- undo_engagement_run.
--
--     psql --dbname engagement --file docs/sql/assistant_role.sql
--     psql --dbname engagement --command '\password engagement_assistant'
--
-- Run it as a user who may create roles and owns the tables, after every `manage.py migrate`.

CREATE ROLE engagement_assistant LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;

GRANT USAGE ON SCHEMA public TO engagement_assistant;

-- Who may be written to. The loader adds users; opting out and in changes what the job asks.
GRANT SELECT, INSERT, UPDATE (reengagement_opt_out, opt_out_changed_at, updated_at)
    ON user_profiles TO engagement_assistant;

-- A first message makes a state row, and every one says that the user was heard.
GRANT SELECT, INSERT,
    UPDATE (state, last_activity_at, goodbye_sent_at, goodbye_expires_at, remind_at, updated_at)
    ON user_engagement_states TO engagement_assistant;

-- Add to the audit log, and read what a message has done already. Not rewrite it.
GRANT SELECT, INSERT ON engagement_state_transitions TO engagement_assistant;

-- Queue messages, and cancel what is not to be sent any more, for which undoing frees the key.
GRANT SELECT, INSERT, UPDATE (status, idempotency_key) ON engagement_message_queue TO engagement_assistant;
