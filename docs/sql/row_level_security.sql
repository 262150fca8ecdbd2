-- Policies for the three database users, if row-level security is on for the assistant's tables.
--
--     psql --dbname engagement --file docs/sql/row_level_security.sql
--
-- Run it as the owner of the tables, after job_role.sql, assistant_role.sql and sender_role.sql, and again after every
-- `manage.py migrate`. Each policy is replaced in a transaction of its own, so running programs lose no rows. Privileges
-- decide what the users may do; the policies apply them to every row. The policies are FOR ALL, because PostgreSQL also
-- applies UPDATE policies to rows that are locked (SELECT ... FOR UPDATE): with a policy for SELECT alone the
-- run would find no due users and end with exit code 0.

BEGIN;
DROP POLICY IF EXISTS engagement_programs ON user_profiles;
CREATE POLICY engagement_programs ON user_profiles
    TO engagement_job, engagement_assistant, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON user_engagement_states;
CREATE POLICY engagement_programs ON user_engagement_states
    TO engagement_job, engagement_assistant, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_state_transitions;
CREATE POLICY engagement_programs ON engagement_state_transitions
    TO engagement_job, engagement_assistant USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_message_queue;
CREATE POLICY engagement_programs ON engagement_message_queue
    TO engagement_job, engagement_assistant, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
-- `migrate` creates these tables without row-level security; needed if you enable it.
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_job_runs;
CREATE POLICY engagement_programs ON engagement_job_runs
    TO engagement_job, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_sending_channels;
CREATE POLICY engagement_programs ON engagement_sending_channels
    TO engagement_job, engagement_assistant, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_inbound_messages;
CREATE POLICY engagement_programs ON engagement_inbound_messages
    TO engagement_assistant USING (true) WITH CHECK (true);
COMMIT;
BEGIN;
DROP POLICY IF EXISTS engagement_programs ON engagement_suppressed_addresses;
CREATE POLICY engagement_programs ON engagement_suppressed_addresses
    TO engagement_assistant, engagement_sender USING (true) WITH CHECK (true);
COMMIT;
