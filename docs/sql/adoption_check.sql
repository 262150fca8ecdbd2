-- Finds problems in a database that already has the assistant's tables. Run it before `manage.py migrate`.
--
--     psql --dbname engagement --file docs/sql/adoption_check.sql
--
-- Run it as the database user who will run `migrate`. It only reads. Each row has three columns: what the
-- problem affects, the problem, and the remedy. A problem of `migrate` makes the migration fail. A problem
-- of the `job` makes the job fail or give wrong results. An `afterwards` row is work for after `migrate`.
-- Without rows for `migrate` and `job` the database is ready. Tables are read and not locked. It may be run again after
-- `migrate`: the first row then says so, and what the migrations made is not reported. CHECKs of the assistant are tried
-- with the values that the engine writes: a function in them is called, and its error ends the query.
--
-- The first result is about tables and columns, the second about rows. Correct the first one first: if a
-- column is missing or cannot be read as its type, the second query ends with an error.

WITH expected (table_name, column_name, data_type, is_required, default_value) AS (VALUES
    ('user_profiles', 'user_id', 'uuid', true, NULL),
    ('user_profiles', 'whatsapp_jid', 'text', false, NULL),
    ('user_profiles', 'preferred_destination', 'text', true, '''individual'''),
    ('user_profiles', 'locale', 'text', true, '''pt-BR'''),
    ('user_profiles', 'reengagement_opt_out', 'boolean', true, 'false'),
    ('user_profiles', 'created_at', 'timestamp with time zone', true, 'now()'),
    ('user_profiles', 'updated_at', 'timestamp with time zone', true, 'now()'),
    ('user_engagement_states', 'id', 'uuid', true, 'gen_random_uuid()'),
    ('user_engagement_states', 'user_id', 'uuid', true, NULL),
    ('user_engagement_states', 'state', 'text', true, '''active'''),
    ('user_engagement_states', 'last_activity_at', 'timestamp with time zone', true, 'now()'),
    ('user_engagement_states', 'goodbye_sent_at', 'timestamp with time zone', false, NULL),
    ('user_engagement_states', 'goodbye_expires_at', 'timestamp with time zone', false, NULL),
    ('user_engagement_states', 'remind_at', 'timestamp with time zone', false, NULL),
    ('user_engagement_states', 'created_at', 'timestamp with time zone', true, 'now()'),
    ('user_engagement_states', 'updated_at', 'timestamp with time zone', true, 'now()'),
    ('engagement_state_transitions', 'id', 'uuid', true, 'gen_random_uuid()'),
    ('engagement_state_transitions', 'user_id', 'uuid', true, NULL),
    ('engagement_state_transitions', 'from_state', 'text', true, NULL),
    ('engagement_state_transitions', 'to_state', 'text', true, NULL),
    ('engagement_state_transitions', 'trigger', 'text', true, NULL),
    ('engagement_state_transitions', 'metadata', 'jsonb', true, '''{}'''),
    ('engagement_state_transitions', 'created_at', 'timestamp with time zone', true, 'now()'),
    ('engagement_message_queue', 'id', 'uuid', true, 'gen_random_uuid()'),
    ('engagement_message_queue', 'user_id', 'uuid', true, NULL),
    ('engagement_message_queue', 'message_type', 'text', true, NULL),
    ('engagement_message_queue', 'message_key', 'text', true, NULL),
    ('engagement_message_queue', 'message_params', 'jsonb', true, '''{}'''),
    ('engagement_message_queue', 'destination', 'text', true, NULL),
    ('engagement_message_queue', 'destination_jid', 'text', true, NULL),
    ('engagement_message_queue', 'scheduled_for', 'timestamp with time zone', true, 'now()'),
    ('engagement_message_queue', 'sent_at', 'timestamp with time zone', false, NULL),
    ('engagement_message_queue', 'status', 'text', true, '''pending'''),
    ('engagement_message_queue', 'retry_count', 'integer', true, '0'),
    ('engagement_message_queue', 'error_message', 'text', false, NULL),
    ('engagement_message_queue', 'idempotency_key', 'text', true, NULL),
    ('engagement_message_queue', 'created_at', 'timestamp with time zone', true, 'now()')
),
-- Columns that the later migrations add to these tables.
later_column (table_name, column_name) AS (VALUES
    ('user_profiles', 'opt_out_changed_at'), ('user_profiles', 'time_zone'), ('user_profiles', 'opt_out_source'),
    ('engagement_message_queue', 'attempt_id'), ('engagement_message_queue', 'claimed_at'),
    ('engagement_message_queue', 'claim_expires_at'), ('engagement_message_queue', 'next_attempt_at'),
    ('engagement_message_queue', 'backend'), ('engagement_message_queue', 'provider_message_id'),
    ('engagement_message_queue', 'delivered_at'), ('engagement_message_queue', 'read_at'),
    ('engagement_message_queue', 'failed_at'), ('engagement_message_queue', 'error_code'),
    ('engagement_message_queue', 'outcome_reason'), ('engagement_message_queue', 'lease_request_id')
),
-- Names that the later migrations use.
name (taken) AS (VALUES
    ('message_pending_idx'), ('message_user_idx'), ('transition_user_idx'), ('state_active_idx'),
    ('state_goodbye_sent_idx'), ('state_remind_later_idx'), ('message_idempotency_key_unique'),
    ('user_profiles_destination_known'), ('engagement_state_known'), ('goodbye_sent_has_its_dates'),
    ('remind_later_has_its_date'), ('transition_from_state_known'), ('transition_to_state_known'),
    ('transition_trigger_known'), ('message_type_known'), ('message_destination_known'),
    ('message_status_known'), ('message_failed_idx'), ('profile_jid_idx'), ('profile_created_idx'), ('profile_number_end_idx'),
    ('profile_skipped_idx'), ('engagement_job_runs'), ('job_run_started_idx'), ('job_run_good_idx'),
    ('profile_opt_out_changed_at_in_range'), ('profile_created_at_in_range'),
    ('profile_updated_at_in_range'), ('state_last_activity_at_in_range'),
    ('state_goodbye_sent_at_in_range'), ('state_goodbye_expires_at_in_range'), ('state_remind_at_in_range'),
    ('state_created_at_in_range'), ('state_updated_at_in_range'), ('transition_created_at_in_range'),
    ('message_scheduled_for_in_range'), ('message_sent_at_in_range'), ('message_created_at_in_range'),
    ('message_claimed_at_in_range'), ('message_claim_expires_at_in_range'),
    ('message_next_attempt_at_in_range'), ('message_delivered_at_in_range'), ('message_read_at_in_range'),
    ('message_failed_at_in_range'), ('message_due_idx'), ('message_in_doubt_idx'), ('message_claimed_idx'),
    ('message_provider_id_idx'), ('message_lease_idx'), ('engagement_sending_channels'),
    ('channel_backend_scope_unique'), ('engagement_inbound_messages'), ('inbound_digest_unique'),
    ('inbound_created_idx'), ('inbound_user_idx'), ('engagement_api_tokens'), ('api_token_digest_unique'),
    ('engagement_suppressed_addresses'), ('suppressed_digest_unique'), ('transition_run_idx'),
    ('transition_undone_run_idx'), ('profile_opted_out_idx'), ('state_last_activity_idx'), ('state_others_idx'),
    ('message_created_idx')
),
-- All values that the engine may write into columns that often have a CHECK.
written (table_name, column_name, written_values) AS (VALUES
    ('user_engagement_states', 'state', ARRAY['active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant']),
    ('engagement_state_transitions', 'from_state',
        ARRAY['active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant']),
    ('engagement_state_transitions', 'to_state',
        ARRAY['active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant']),
    ('engagement_state_transitions', 'trigger', ARRAY[
        'inactivity_14d', 'user_message', 'goodbye_response_1', 'goodbye_response_2', 'goodbye_response_3',
        'goodbye_timeout', 'reminder_due', 'run_undone']),
    ('engagement_message_queue', 'message_type', ARRAY[
        'welcome', 'tier_unlock', 'goodbye', 'weekly_review', 'reminder', 'help_restart', 'reply']),
    ('engagement_message_queue', 'status',
        ARRAY['pending', 'sending', 'sent', 'failed', 'cancelled', 'unknown']),
    ('engagement_message_queue', 'destination', ARRAY['individual', 'group'])
),
-- Defaults that the job relies on. A new row must leave the times and the error empty.
exact_default (table_name, column_name) AS (VALUES
    ('user_engagement_states', 'state'), ('user_engagement_states', 'goodbye_sent_at'),
    ('user_engagement_states', 'goodbye_expires_at'), ('user_engagement_states', 'remind_at'),
    ('engagement_message_queue', 'status'), ('engagement_message_queue', 'retry_count'),
    ('engagement_message_queue', 'sent_at'), ('engagement_message_queue', 'error_message')
),
migrated AS (
    SELECT FROM pg_constraint
    WHERE conrelid = to_regclass('engagement_message_queue') AND conname = 'message_idempotency_key_unique'
    AND to_regclass('django_migrations') IS NOT NULL
),
found_table AS (
    SELECT table_name, to_regclass(table_name) AS oid FROM (SELECT DISTINCT table_name FROM expected) AS names
),
-- Where `migrate` makes tables and indexes.
found_schema AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname = current_schema()
        OR oid IN (SELECT relnamespace FROM found_table JOIN pg_class USING (oid))
),
found_column AS (
    SELECT table_name, found_table.oid AS table_oid, attnum, attname::text AS column_name,
        -- The type's name without a length is bpchar for char(n): a cast to character would leave one letter.
        format_type(atttypid, atttypmod) AS data_type, format_type(atttypid, -1) AS type_name,
        -- None for a domain: the engine's values may not be cast to it.
        CASE typtype WHEN 'b' THEN typcategory END AS type_category, attnotnull AS is_required,
        atthasdef OR attidentity <> '' AS has_default, pg_get_expr(adbin, adrelid) AS default_text,
        attgenerated <> '' AS is_generated, attgenerated = 'v' AS is_virtual,
        EXISTS (
            SELECT FROM pg_index WHERE indrelid = attrelid AND indisprimary AND attnum = ANY (indkey)
        ) AS is_in_primary_key
    FROM found_table
    JOIN pg_attribute ON attrelid = found_table.oid
    JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
),
missing_migration AS (
    SELECT FROM later_column LEFT JOIN found_column USING (table_name, column_name) WHERE table_oid IS NULL
),
-- What refuses a second row: unique constraints and indexes, exclusion constraints; with their columns.
found_key AS (
    SELECT table_name, index_class.relname AS key_name, conname, NOT indimmediate AS is_deferrable,
        -- For all rows, and by columns alone.
        indisunique AND indpred IS NULL AND indexprs IS NULL AS is_plain,
        indisexclusion AS is_exclusion,
        ARRAY(
            SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS key (number, place)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number
            WHERE place <= indnkeyatts ORDER BY attname
        ) AS columns,
        pg_get_constraintdef(pg_constraint.oid) AS constraint_text,
        regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') AS index_text
    FROM found_table
    JOIN pg_index ON indrelid = found_table.oid
    JOIN pg_class AS index_class ON index_class.oid = indexrelid
    LEFT JOIN pg_constraint ON conindid = indexrelid AND conrelid = indrelid
    WHERE indisunique OR indisexclusion
),
another_key AS (
    SELECT * FROM found_key
    WHERE table_name = 'engagement_message_queue'
        AND (is_exclusion OR NOT columns && ARRAY['id', 'idempotency_key'])
),
needed_key (table_name, column_name) AS (VALUES
    ('user_profiles', 'user_id'), ('user_engagement_states', 'id'), ('user_engagement_states', 'user_id'),
    ('engagement_state_transitions', 'id'), ('engagement_message_queue', 'id')
),
wrong_type AS (
    SELECT found_column.*, expected.data_type AS expected_type, default_value,
        expected.data_type = 'uuid' AND found_column.data_type IN ('smallint', 'integer', 'bigint') AS is_number,
        found_column.data_type LIKE 'timestamp%without time zone' AS is_without_zone,
        expected.data_type LIKE 'timestamp%' AND type_category = 'N' AS is_epoch
    FROM expected JOIN found_column USING (table_name, column_name)
    WHERE found_column.data_type <> expected.data_type
),
-- What depends on a column whose type must change, besides foreign keys. A text may stay in CHECKs and indexes.
type_user AS (
    SELECT wrong_type.table_name, wrong_type.column_name, wrong_type.data_type, expected_type,
        CASE WHEN attname IS NOT NULL THEN format('generated column %I', attname)
             ELSE replace(pg_describe_object(classid, objid, objsubid), 'rule _RETURN on ', '') END AS used_by,
        CASE WHEN conname IS NOT NULL THEN format('ALTER TABLE %s DROP CONSTRAINT %I;', table_name, conname)
             WHEN indexrelid IS NOT NULL THEN format('DROP INDEX %s;', indexrelid::regclass)
             WHEN attname IS NOT NULL THEN format('ALTER TABLE %s DROP COLUMN %I;', table_name, attname)
        END AS dropping,
        CASE WHEN conname IS NOT NULL
             THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s;',
                table_name, conname, pg_get_constraintdef(pg_constraint.oid))
             WHEN indexrelid IS NOT NULL THEN pg_get_indexdef(indexrelid) || ';'
             WHEN attname IS NOT NULL
             THEN format('ALTER TABLE %s ADD COLUMN %I %s GENERATED ALWAYS AS (%s) %s;',
                table_name, attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid),
                CASE attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END)
        END AS creating
    FROM wrong_type
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = table_oid AND refobjsubid = wrong_type.attnum
    LEFT JOIN pg_constraint ON classid = 'pg_constraint'::regclass AND pg_constraint.oid = objid AND contype = 'c'
    LEFT JOIN pg_index ON classid = 'pg_class'::regclass AND indexrelid = objid
        AND (indpred IS NOT NULL OR indexprs IS NOT NULL)
    -- In PostgreSQL 14 the generated column depends on the other one, since 15 its expression does.
    LEFT JOIN pg_attrdef ON adrelid = table_oid AND adnum <> wrong_type.attnum AND (
        classid = 'pg_attrdef'::regclass AND pg_attrdef.oid = objid
        OR classid = 'pg_class'::regclass AND objid = adrelid AND adnum = objsubid)
    LEFT JOIN pg_attribute ON attrelid = adrelid AND pg_attribute.attnum = adnum AND attgenerated <> ''
    WHERE classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass)
        OR attname IS NOT NULL
        OR (conname IS NOT NULL OR indexrelid IS NOT NULL) AND NOT coalesce(type_category = 'S' AND expected_type = 'text', false)
),
-- Which of the values a constraint on the column alone refuses.
question AS MATERIALIZED (
    SELECT table_name, column_name, conname, confrelid, key.attname AS key_name, written_values,
        format(
            'SELECT array_to_tsvector(ARRAY[%1$I::text])'
            ' FROM (SELECT value::%2$s AS %1$I FROM unnest(%3$L::text[]) AS value) AS written WHERE %4$s',
            column_name, type_name, written_values,
            CASE contype WHEN 'c' THEN format('(%s) IS FALSE', pg_get_expr(conbin, conrelid))
                 ELSE format('NOT EXISTS (SELECT FROM %s AS lookup WHERE lookup.%I::text = written.%I::text)',
                    confrelid::regclass, key.attname, column_name) END
        ) AS query
    FROM written JOIN found_column USING (table_name, column_name)
    JOIN pg_constraint ON conrelid = table_oid AND conkey = ARRAY[found_column.attnum]
    LEFT JOIN pg_attribute AS key ON key.attrelid = confrelid AND key.attnum = confkey[1]
    WHERE type_category = 'S' AND (contype = 'c' AND conname NOT IN (SELECT taken FROM name)
        OR contype = 'f' AND has_table_privilege(confrelid, 'SELECT')
            AND has_schema_privilege((SELECT relnamespace FROM pg_class WHERE oid = confrelid), 'USAGE'))
),
refusal AS (
    SELECT *, array_to_string(refused, ', ') AS refused_values
    -- ts_stat() is what runs a query from a text. It returns the words in the query's rows: here the values.
    FROM question CROSS JOIN LATERAL (
        SELECT array_agg(word ORDER BY array_position(written_values, word)) AS refused FROM ts_stat(query)
    ) AS answer
    WHERE refused IS NOT NULL
),
-- CHECKs on several columns with texts in them that do not name all that the engine may write.
narrow_check AS (
    SELECT table_name, conname, string_agg(column_name || ' ' || missing, '; ' ORDER BY column_name) AS missing
    FROM written JOIN found_column USING (table_name, column_name)
    JOIN pg_constraint ON conrelid = table_oid AND attnum = ANY (conkey)
    CROSS JOIN pg_get_constraintdef(pg_constraint.oid) AS constraint_text
    CROSS JOIN LATERAL (
        SELECT string_agg(value, ', ') AS missing FROM unnest(written_values) AS value
        WHERE constraint_text !~ ('\m' || value || '\M')
    ) AS unnamed
    CROSS JOIN LATERAL (
        SELECT count(*) AS texts FROM regexp_matches(constraint_text, '''[^'']+''', 'g')
    ) AS named
    -- With one text it says what a single value needs.
    WHERE contype = 'c' AND missing IS NOT NULL AND texts > 1 AND cardinality(conkey) > 1
        AND conname NOT IN (SELECT taken FROM name)
    GROUP BY table_name, conname
)

SELECT 'migrate' AS concerns, format('%s does not exist', table_name) AS problem,
    'take its CREATE TABLE from: manage.py sqlmigrate engagement 0001' AS remedy
FROM found_table WHERE oid IS NULL
UNION ALL
SELECT 'migrated', 'the migrations have been applied to this database', 'nothing to do'
FROM migrated WHERE NOT EXISTS (SELECT FROM missing_migration)
UNION ALL
SELECT 'migrated', 'the first migrations have been applied to this database, later ones not',
    'run migrate; if a name that it adds is taken, it stops there and says which'
FROM migrated WHERE EXISTS (SELECT FROM missing_migration)
UNION ALL
SELECT 'migrate', format('%s is not an ordinary table (a view, for example)', table_name),
    'rename it, or put the tables into a schema of their own'
FROM found_table JOIN pg_class USING (oid) WHERE relkind NOT IN ('r', 'p')
UNION ALL
SELECT 'migrate', format('%s is partitioned, which is not supported', table_name),
    'copy its rows into an ordinary table of this name: the keys that the job needs and indexes without locks'
    ' do not exist for partitioned tables'
FROM found_table JOIN pg_class USING (oid) WHERE relkind = 'p'
UNION ALL
SELECT 'migrate', format('%s does not belong to this user, %s', table_name, current_user),
    format('ALTER TABLE %s OWNER TO %I; or migrate as its owner', table_name, current_user)
FROM found_table JOIN pg_class USING (oid) WHERE NOT pg_has_role(relowner, 'USAGE')
UNION ALL
SELECT 'migrate', format('this user, %s, may not create tables in the schema %s', current_user, nspname),
    format('GRANT CREATE ON SCHEMA %I TO %I; -- as the owner of the schema', nspname, current_user)
FROM found_schema
WHERE NOT has_schema_privilege(oid, 'CREATE') AND NOT EXISTS (SELECT FROM migrated)
UNION ALL
SELECT 'migrate', format('row-level security hides rows of %s from this user, %s', table_name, current_user),
    'run this and migrate as the owner of the tables, without FORCE ROW LEVEL SECURITY, or with BYPASSRLS'
FROM found_table WHERE row_security_active(oid)
UNION ALL
SELECT 'migrate', format('%s.%s does not exist', table_name, expected.column_name),
    format(
        'ALTER TABLE %s ADD COLUMN %s %s%s;%s', table_name, expected.column_name, expected.data_type,
        CASE WHEN default_value IS NOT NULL THEN format(' DEFAULT %s NOT NULL', default_value) END,
        CASE WHEN expected.is_required AND default_value IS NULL
             THEN ' -- then give each row a value, and run this script again' END
    )
FROM expected LEFT JOIN found_column USING (table_name, column_name)
WHERE to_regclass(table_name) IS NOT NULL AND found_column.data_type IS NULL
UNION ALL
SELECT 'job', format('%s.%s is %s, not %s', table_name, column_name, data_type, expected_type),
    format(
        '%1$sALTER TABLE %2$s ALTER COLUMN %3$s DROP DEFAULT, ALTER COLUMN %3$s TYPE %4$s USING %5$s%6$s;%7$s',
        CASE WHEN is_number
             THEN format('ALTER TABLE %s ALTER COLUMN %s DROP IDENTITY IF EXISTS; ', table_name, column_name) END,
        table_name, column_name, expected_type,
        -- The same number becomes the same id in each table.
        CASE WHEN is_number THEN format('lpad(to_hex(%s::bigint), 32, ''0'')::uuid', column_name)
             WHEN is_without_zone THEN column_name || ' AT TIME ZONE ''UTC'''
             WHEN is_epoch THEN format('to_timestamp(%s)', column_name)
             WHEN expected_type = 'boolean' AND type_category = 'N' THEN column_name || ' <> 0'
             ELSE column_name || '::' || expected_type END,
        format(', ALTER COLUMN %s SET DEFAULT ', column_name) || default_value,
        CASE WHEN is_without_zone THEN
            format(' -- if its times are not in UTC, name their zone instead (TimeZone is %s)',
                current_setting('TimeZone'))
             WHEN is_epoch THEN ' -- divide it by 1000.0 if it counts milliseconds'
        END
    )
FROM wrong_type
UNION ALL
SELECT DISTINCT 'job',
    format('the foreign key %s of %s is on a column whose type must change', conname, conrelid::regclass),
    format('in one transaction: ALTER TABLE %1$s DROP CONSTRAINT %2$I; then change the columns on both sides;'
        ' then ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s;',
        conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
FROM wrong_type JOIN pg_constraint
    ON conrelid = table_oid AND attnum = ANY (conkey) OR confrelid = table_oid AND attnum = ANY (confkey)
WHERE contype = 'f' AND expected_type = 'uuid'
UNION ALL
SELECT 'job',
    format('%s, whose type must change, %s used by the %s',
        string_agg(DISTINCT table_name || '.' || column_name, ' and '),
        CASE count(DISTINCT (table_name, column_name)) WHEN 1 THEN 'is' ELSE 'are' END, used_by),
    CASE WHEN creating IS NULL THEN 'drop it, change the type, and create it again'
         ELSE format('in one transaction: %s then change the type; then %s', dropping,
            -- Of two types the longer name first, if it begins with the shorter one.
            replace(replace(creating, (max(casts))[1], (max(casts))[2]), (min(casts))[1], (min(casts))[2])) END
FROM type_user CROSS JOIN LATERAL (SELECT ARRAY['::' || data_type, '::' || expected_type] AS casts) AS type_names
GROUP BY used_by, dropping, creating
UNION ALL
SELECT 'job', format('%s.%s may be NULL', table_name, column_name),
    format('ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;', table_name, column_name)
FROM expected JOIN found_column USING (table_name, column_name)
WHERE expected.is_required AND NOT found_column.is_required
UNION ALL
SELECT 'job', format('%s.%s may not be NULL', table_name, column_name),
    format('ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL;', table_name, column_name)
FROM expected JOIN found_column USING (table_name, column_name)
WHERE NOT expected.is_required AND found_column.is_required
UNION ALL
SELECT 'job',
    format('%s.%s %s', table_name, column_name,
        CASE WHEN is_generated THEN 'is generated: ' || default_text
             ELSE 'has ' || coalesce('the default ' || default_text, 'no default') END),
    CASE WHEN is_virtual THEN 'add an ordinary column, UPDATE it to these values, drop this one, and rename the new one'
         ELSE format('ALTER TABLE %s ALTER COLUMN %s %s;', table_name, column_name,
            CASE WHEN is_generated
                 THEN format('DROP EXPRESSION%s', format(', ALTER COLUMN %s SET DEFAULT ', column_name) || default_value)
                 ELSE coalesce('SET DEFAULT ' || default_value, 'DROP DEFAULT') END) END
FROM expected JOIN found_column USING (table_name, column_name)
WHERE default_value IS NOT NULL AND NOT has_default
    OR (table_name, column_name) IN (SELECT * FROM exact_default) AND found_column.data_type = expected.data_type
    AND CASE WHEN default_value IS NULL OR is_generated THEN default_text IS NOT NULL
             -- With casts or without. A cast to a length may cut the value.
             ELSE (default_text ~ format('^\(*''?%s''?\)*(::[a-z ]+\)*)*$', trim(default_value, '''')))
                IS NOT TRUE END
UNION ALL
SELECT 'job', format('%s.%s must have a value and has no default: no row could be added', table_name, column_name),
    CASE WHEN is_in_primary_key
         THEN format('give it a default, as it is in the primary key: ALTER TABLE %s ALTER COLUMN %I SET DEFAULT ...',
            table_name, column_name)
         ELSE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL;', table_name, column_name) END
FROM found_column LEFT JOIN expected USING (table_name, column_name)
WHERE expected.data_type IS NULL AND found_column.is_required AND NOT has_default
    -- Only load_activity_log adds profiles.
    AND table_name <> 'user_profiles'
UNION ALL
SELECT 'job',
    format('%s.%s has a CHECK, %s, that refuses values that the engine writes: %s',
        table_name, column_name, conname, refused_values),
    format('ALTER TABLE %s DROP CONSTRAINT %I;', table_name, conname)
FROM refusal WHERE confrelid = 0
UNION ALL
SELECT 'job',
    format('%s.%s has a foreign key, %s, to %s, which lacks values that the engine writes: %s',
        table_name, column_name, conname, confrelid::regclass, refused_values),
    format('INSERT INTO %s (%I) SELECT unnest(%L::text[]); -- with its other columns, if they need a value',
        confrelid::regclass, key_name, refused)
FROM refusal WHERE confrelid <> 0
UNION ALL
SELECT 'job',
    format('%s has a CHECK, %s, that does not name all values that the engine writes: %s',
        table_name, conname, missing),
    format('ALTER TABLE %s DROP CONSTRAINT %I; -- or keep it, if you see that it accepts them', table_name, conname)
FROM narrow_check
UNION ALL
SELECT 'job', format('%s.%s is not unique', table_name, column_name),
    format('ALTER TABLE %s ADD UNIQUE (%s);', table_name, column_name)
FROM needed_key JOIN found_column USING (table_name, column_name)
WHERE NOT EXISTS (
    SELECT FROM found_key
    WHERE found_key.table_name = needed_key.table_name AND is_plain AND columns = ARRAY[needed_key.column_name]
)
UNION ALL
-- The first migration makes this one, but on an adopted database it is only recorded.
SELECT 'job', 'user_engagement_states.user_id has no foreign key to user_profiles',
    'ALTER TABLE user_engagement_states ADD FOREIGN KEY (user_id) REFERENCES user_profiles (user_id)'
    ' DEFERRABLE INITIALLY DEFERRED;'
WHERE to_regclass('user_engagement_states') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_constraint JOIN found_column ON table_oid = conrelid AND conkey = ARRAY[attnum]
    WHERE contype = 'f' AND confrelid = to_regclass('user_profiles')
    AND table_name = 'user_engagement_states' AND column_name = 'user_id'
)
UNION ALL
SELECT 'job',
    format('engagement_message_queue has another unique key, %s, %s: a goodbye that violates it would be dropped silently',
        key_name, index_text),
    CASE WHEN conname IS NULL THEN format('DROP INDEX %I;', key_name)
         ELSE format('ALTER TABLE engagement_message_queue DROP CONSTRAINT %I;', conname) END
FROM another_key
UNION ALL
SELECT 'job', format('%s.%s is deferrable: no row could be added with ON CONFLICT', table_name, key_name),
    format('ALTER TABLE %1$s DROP CONSTRAINT %2$I, ADD CONSTRAINT %2$I %3$s;',
        table_name, conname, regexp_replace(constraint_text, ' DEFERRABLE.*', ''))
FROM found_key
WHERE is_deferrable AND table_name <> 'engagement_state_transitions'
    AND NOT EXISTS (SELECT FROM another_key WHERE another_key.key_name = found_key.key_name)
UNION ALL
SELECT 'migrate', format('%s.%s is a column that a migration adds', table_name, column_name),
    format('ALTER TABLE %s RENAME COLUMN %s TO %s;', table_name, column_name, 'former_' || column_name)
FROM later_column JOIN found_column USING (table_name, column_name)
WHERE NOT EXISTS (SELECT FROM migrated)
UNION ALL
SELECT 'migrate', format('the name %s is taken, by an index, a table or a type', taken),
    format('ALTER %s %s RENAME TO %s;', CASE relkind WHEN 'i' THEN 'INDEX' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
        pg_class.oid::regclass, 'former_' || taken)
FROM name JOIN pg_class ON relname = taken JOIN found_schema ON found_schema.oid = relnamespace
WHERE NOT EXISTS (SELECT FROM migrated)
UNION ALL
SELECT 'migrate', format('the name %s is taken, by a constraint of %s', taken, table_name),
    format('ALTER TABLE %s RENAME CONSTRAINT %s TO %s;', table_name, taken, 'former_' || taken)
FROM name JOIN pg_constraint ON conname = taken JOIN found_table ON found_table.oid = conrelid
WHERE conindid = 0 AND NOT EXISTS (SELECT FROM migrated)
UNION ALL
SELECT 'afterwards',
    format('the idempotency key %s unique twice: drop %s',
        CASE WHEN EXISTS (SELECT FROM migrated) THEN 'is' ELSE 'will be' END, key_name),
    CASE WHEN conname IS NULL THEN format('DROP INDEX %I;', key_name)
         ELSE format('ALTER TABLE engagement_message_queue DROP CONSTRAINT %I;', conname) END
FROM found_key
WHERE table_name = 'engagement_message_queue' AND is_plain AND columns = ARRAY['idempotency_key']
    AND key_name <> 'message_idempotency_key_unique'
UNION ALL
SELECT 'afterwards', format('%s.user_id has a foreign key: erasing a user deletes its rows of that user', conrelid::regclass),
    format('keep it; or, to keep the rows under a random id: ALTER TABLE %s DROP CONSTRAINT %I;',
        conrelid::regclass, conname)
FROM pg_constraint
JOIN found_table ON found_table.oid = conrelid
JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
WHERE contype = 'f' AND attname = 'user_id'
    AND table_name IN ('engagement_state_transitions', 'engagement_message_queue')
UNION ALL
SELECT 'afterwards', format('row-level security is on for %s', table_name),
    'give the job''s user policies: docs/sql/row_level_security.sql'
FROM found_table JOIN pg_class USING (oid) WHERE relrowsecurity
ORDER BY concerns DESC, problem;

SELECT concerns, format('%s of %s: %s', row_count, table_name, what) AS problem, remedy
FROM (
    SELECT 'migrate', 'user_profiles', 'preferred_destination is neither individual nor group',
        'UPDATE each to individual or group',
        count(*) FILTER (WHERE preferred_destination::text NOT IN ('individual', 'group')) FROM user_profiles
    UNION ALL
    SELECT 'job', 'user_profiles', 'NULL in a column that needs a value',
        'UPDATE each; the columns are those that may not be NULL',
        count(*) FILTER (WHERE num_nulls(
            preferred_destination, locale, reengagement_opt_out, created_at, updated_at) > 0)
    FROM user_profiles
    UNION ALL
    SELECT 'migrate', 'user_engagement_states', 'an unknown state', 'UPDATE each to one of the five states',
        count(*) FILTER (WHERE state::text NOT IN
            ('active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant'))
    FROM user_engagement_states
    UNION ALL
    SELECT 'migrate', 'user_engagement_states', 'goodbye_sent without goodbye_sent_at or goodbye_expires_at',
        'UPDATE them to dormant, or set both times: without them no run ends the state',
        count(*) FILTER (WHERE state::text = 'goodbye_sent' AND num_nulls(goodbye_sent_at, goodbye_expires_at) > 0)
    FROM user_engagement_states
    UNION ALL
    SELECT 'migrate', 'user_engagement_states', 'remind_later without remind_at',
        'UPDATE them to dormant, or set the time',
        count(*) FILTER (WHERE state::text = 'remind_later' AND remind_at IS NULL)
    FROM user_engagement_states
    UNION ALL
    SELECT 'job', 'user_engagement_states', 'NULL in a column that needs a value',
        'UPDATE each; the columns are those that may not be NULL',
        count(*) FILTER (WHERE num_nulls(user_id, state, last_activity_at, created_at, updated_at) > 0)
    FROM user_engagement_states
    UNION ALL
    SELECT 'job', 'user_engagement_states', 'the user has another row',
        'DELETE all but one of each user',
        count(user_id) - count(DISTINCT user_id)
    FROM user_engagement_states
    UNION ALL
    SELECT 'job', 'user_engagement_states', 'the user has no profile and would never be sent a goodbye',
        'INSERT the profiles, or DELETE the rows',
        count(*) FILTER (WHERE NOT EXISTS (
            SELECT FROM user_profiles WHERE user_profiles.user_id = user_engagement_states.user_id))
    FROM user_engagement_states
    UNION ALL
    SELECT 'migrate', 'engagement_state_transitions', 'an unknown state', 'UPDATE each to one of the five states',
        count(*) FILTER (WHERE
            from_state::text NOT IN ('active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant')
            OR to_state::text NOT IN ('active', 'goodbye_sent', 'help_flow', 'remind_later', 'dormant'))
    FROM engagement_state_transitions
    UNION ALL
    SELECT 'migrate', 'engagement_state_transitions', 'an unknown trigger',
        'UPDATE each to a known trigger, or move the rows to a table of your own',
        count(*) FILTER (WHERE trigger::text NOT IN (
            'inactivity_14d', 'user_message', 'goodbye_response_1', 'goodbye_response_2',
            'goodbye_response_3', 'goodbye_timeout', 'reminder_due', 'run_undone'))
    FROM engagement_state_transitions
    UNION ALL
    SELECT 'migrate', 'engagement_message_queue', 'an unknown message_type',
        'UPDATE each to a known type, or move the rows to a table of your own',
        count(*) FILTER (WHERE message_type::text NOT IN
            ('welcome', 'tier_unlock', 'goodbye', 'weekly_review', 'reminder', 'help_restart', 'reply'))
    FROM engagement_message_queue
    UNION ALL
    -- Left by an earlier adoption. Its first migrations do not know the type yet.
    SELECT 'migrate', 'engagement_message_queue', 'of the type reply',
        'CREATE TABLE former_replies AS SELECT * FROM engagement_message_queue WHERE message_type = ''reply'';'
        ' DELETE FROM engagement_message_queue WHERE message_type = ''reply'';',
        count(*) FILTER (WHERE message_type::text = 'reply')
    FROM engagement_message_queue
    UNION ALL
    SELECT 'migrate', 'engagement_message_queue', 'destination is neither individual nor group',
        'UPDATE each to individual or group',
        count(*) FILTER (WHERE destination::text NOT IN ('individual', 'group')) FROM engagement_message_queue
    UNION ALL
    SELECT 'migrate', 'engagement_message_queue', 'an unknown status',
        'UPDATE each to pending, sent, failed or cancelled',
        count(*) FILTER (WHERE status::text NOT IN
            ('pending', 'sending', 'sent', 'failed', 'cancelled', 'unknown'))
    FROM engagement_message_queue
    UNION ALL
    -- Left by an earlier adoption, or by another sender. What was known about the attempts is not in these columns.
    SELECT 'migrate', 'engagement_message_queue', 'sending or unknown: nobody knows whether it arrived',
        'UPDATE engagement_message_queue SET status = ''failed'' WHERE status IN (''sending'', ''unknown'');'
        ' -- never to pending: it would be sent again',
        count(*) FILTER (WHERE status::text IN ('sending', 'unknown'))
    FROM engagement_message_queue
    UNION ALL
    SELECT 'migrate', 'engagement_message_queue', 'another message has the same idempotency key',
        'UPDATE all but one: append the id to the key',
        count(idempotency_key) - count(DISTINCT idempotency_key)
    FROM engagement_message_queue
    UNION ALL
    SELECT 'job', 'engagement_message_queue', 'NULL in a column that needs a value',
        'UPDATE each; the columns are those that may not be NULL',
        count(*) FILTER (WHERE num_nulls(
            user_id, message_type, message_key, message_params, destination, destination_jid, scheduled_for,
            status, retry_count, idempotency_key, created_at) > 0)
    FROM engagement_message_queue
    UNION ALL
    SELECT 'job', table_name, format('%s is text and not a UUID', column_name),
        'UPDATE each to a UUID: that of a user to the same one in all tables', count(*)
    FROM (
        SELECT 'user_profiles', 'user_id', pg_typeof(user_id), user_id::text FROM user_profiles
        UNION ALL
        SELECT 'user_engagement_states', ids.*
        FROM user_engagement_states, LATERAL (VALUES
            ('id', pg_typeof(id), id::text), ('user_id', pg_typeof(user_id), user_id::text)) AS ids
        UNION ALL
        SELECT 'engagement_state_transitions', ids.*
        FROM engagement_state_transitions, LATERAL (VALUES
            ('id', pg_typeof(id), id::text), ('user_id', pg_typeof(user_id), user_id::text)) AS ids
        UNION ALL
        SELECT 'engagement_message_queue', ids.*
        FROM engagement_message_queue, LATERAL (VALUES
            ('id', pg_typeof(id), id::text), ('user_id', pg_typeof(user_id), user_id::text)) AS ids
    ) AS stored (table_name, column_name, type, value)
    WHERE type IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
        AND value !~* '^\{?([0-9a-f]{4}-?){7}[0-9a-f]{4}\}?$'
    GROUP BY table_name, column_name
    UNION ALL
    SELECT 'job', 'user_profiles', 'another user has the same whatsapp_jid: each of them gets messages',
        'decide which user it is, and UPDATE the others to NULL',
        count(whatsapp_jid) - count(DISTINCT whatsapp_jid)
    FROM user_profiles
    WHERE whatsapp_jid ~ '[^[:space:]]'
    UNION ALL
    SELECT 'migrate', table_name, format('%s is before 1970 or after 2999', column_name),
        format('UPDATE %1$s SET %2$s = least(greatest(%2$s, ''1970-01-01Z''), %3$s)'
            ' WHERE %2$s < ''1970-01-01Z'' OR %2$s >= ''3000-01-01Z'';', table_name, column_name,
            -- With a time far ahead the user would wait in this state for ever.
            CASE WHEN column_name IN ('last_activity_at', 'goodbye_sent_at', 'goodbye_expires_at', 'remind_at')
                 THEN 'now()' ELSE '''2999-12-31Z''' END),
        count(*)
    FROM (
        SELECT 'user_profiles', time.*
        FROM user_profiles, LATERAL (VALUES
            ('created_at', created_at::timestamptz), ('updated_at', updated_at::timestamptz)) AS time
        UNION ALL
        SELECT 'user_engagement_states', time.*
        FROM user_engagement_states, LATERAL (VALUES
            ('last_activity_at', last_activity_at::timestamptz), ('goodbye_sent_at', goodbye_sent_at::timestamptz),
            ('goodbye_expires_at', goodbye_expires_at::timestamptz), ('remind_at', remind_at::timestamptz),
            ('created_at', created_at::timestamptz), ('updated_at', updated_at::timestamptz)) AS time
        UNION ALL
        SELECT 'engagement_state_transitions', 'created_at', created_at::timestamptz
        FROM engagement_state_transitions
        UNION ALL
        SELECT 'engagement_message_queue', time.*
        FROM engagement_message_queue, LATERAL (VALUES
            ('scheduled_for', scheduled_for::timestamptz), ('sent_at', sent_at::timestamptz),
            ('created_at', created_at::timestamptz)) AS time
    ) AS stored (table_name, column_name, value)
    WHERE value < '1970-01-01Z' OR value >= '3000-01-01Z'
    GROUP BY table_name, column_name
) AS counted (concerns, table_name, what, remedy, row_count)
-- After `migrate` its CHECK constraints, which also know later types and statuses, refuse such rows.
WHERE row_count > 0 AND (concerns <> 'migrate' OR NOT EXISTS (
    SELECT FROM pg_constraint
    WHERE conrelid = to_regclass('engagement_message_queue') AND conname = 'message_idempotency_key_unique'
    AND to_regclass('django_migrations') IS NOT NULL))
ORDER BY concerns DESC, problem;
