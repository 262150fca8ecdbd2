-- Policies for the two database users, where row-level security is on for the assistant's tables.
--
--     psql --dbname engagement --file docs/sql/row_level_security.sql
--
-- Run it as the owner of the tables, after job_role.sql and assistant_role.sql, once. What the users may
-- do is decided by their privileges; the policies say only that it holds for every row. FOR ALL, since
-- whoever locks rows (SELECT ... FOR UPDATE) is asked for the policies of UPDATE as well: with a policy
-- for SELECT alone the job would find nobody due, and say so with exit code 0.

CREATE POLICY engagement_programs ON user_profiles
    TO engagement_job, engagement_assistant USING (true) WITH CHECK (true);
CREATE POLICY engagement_programs ON user_engagement_states
    TO engagement_job, engagement_assistant USING (true) WITH CHECK (true);
CREATE POLICY engagement_programs ON engagement_state_transitions
    TO engagement_job, engagement_assistant USING (true) WITH CHECK (true);
CREATE POLICY engagement_programs ON engagement_message_queue
    TO engagement_job, engagement_assistant USING (true) WITH CHECK (true);
-- Made by `migrate` without row-level security; in case you switch it on.
CREATE POLICY engagement_programs ON engagement_job_runs
    TO engagement_job USING (true) WITH CHECK (true);
