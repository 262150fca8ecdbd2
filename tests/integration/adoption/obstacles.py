"""Problems of tables that another program created, and the findings of adoption_check.sql."""

from __future__ import annotations

from typing import Final, NamedTuple

USER: Final = "00000000-0000-4000-8000-000000000001"


class Obstacle(NamedTuple):
    """A change to tables that are ready to be adopted, and the finding that it causes."""

    change: str
    concerns: str
    problem: str


SHAPES: Final = {
    "missing column": Obstacle(
        "ALTER TABLE engagement_message_queue DROP COLUMN retry_count",
        "migrate",
        "engagement_message_queue.retry_count does not exist",
    ),
    "time without zone": Obstacle(
        "ALTER TABLE user_engagement_states ALTER COLUMN remind_at TYPE timestamp",
        "job",
        "user_engagement_states.remind_at is timestamp without time zone, not timestamp with time zone",
    ),
    "last activity as text": Obstacle(
        "ALTER TABLE user_engagement_states ALTER COLUMN last_activity_at TYPE text",
        "job",
        "user_engagement_states.last_activity_at is text, not timestamp with time zone",
    ),
    "numbered rows": Obstacle(
        "ALTER TABLE engagement_message_queue DROP COLUMN id;"
        "ALTER TABLE engagement_message_queue ADD COLUMN id bigserial PRIMARY KEY",
        "job",
        "engagement_message_queue.id is bigint, not uuid",
    ),
    "identity": Obstacle(
        "ALTER TABLE engagement_state_transitions DROP COLUMN id;"
        "ALTER TABLE engagement_state_transitions ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "job",
        "engagement_state_transitions.id is integer, not uuid",
    ),
    "short text": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN status TYPE varchar(20)",
        "job",
        "engagement_message_queue.status is character varying(20), not text",
    ),
    "padded text with a check that accepts all values": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN status TYPE char(20), ADD CONSTRAINT ck_status"
        " CHECK (status IN ('pending', 'sending', 'sent', 'failed', 'cancelled', 'unknown'))",
        "job",
        "engagement_message_queue.status is character(20), not text",
    ),
    "padded text with a complete table of values": Obstacle(
        "CREATE TABLE statuses (value char(12) PRIMARY KEY);"
        "INSERT INTO statuses"
        " VALUES ('pending'), ('sending'), ('sent'), ('failed'), ('cancelled'), ('unknown');"
        "ALTER TABLE engagement_message_queue ALTER COLUMN status TYPE char(12), ADD CONSTRAINT fk_status"
        " FOREIGN KEY (status) REFERENCES statuses",
        "job",
        "engagement_message_queue.status is character(12), not text",
    ),
    "enumeration": Obstacle(
        "CREATE TYPE state AS ENUM ('active', 'goodbye_sent', 'help_flow', 'remind_later',"
        " 'dormant');"
        "ALTER TABLE user_engagement_states ALTER COLUMN state DROP DEFAULT, ALTER COLUMN state TYPE"
        " state USING state::state, ALTER COLUMN state SET DEFAULT 'active'",
        "job",
        "user_engagement_states.state is state, not text",
    ),
    "number as truth": Obstacle(
        "ALTER TABLE user_profiles ALTER reengagement_opt_out DROP DEFAULT, ALTER reengagement_opt_out"
        " TYPE smallint USING reengagement_opt_out::int, ALTER reengagement_opt_out SET DEFAULT 0",
        "job",
        "user_profiles.reengagement_opt_out is smallint, not boolean",
    ),
    "number as time": Obstacle(
        "ALTER TABLE user_engagement_states ALTER remind_at TYPE bigint USING extract(epoch FROM remind_at)",
        "job",
        "user_engagement_states.remind_at is bigint, not timestamp with time zone",
    ),
    "json": Obstacle(
        "ALTER TABLE engagement_state_transitions ALTER COLUMN metadata TYPE json",
        "job",
        "engagement_state_transitions.metadata is json, not jsonb",
    ),
    "may be null": Obstacle(
        "ALTER TABLE user_profiles ALTER COLUMN reengagement_opt_out DROP NOT NULL",
        "job",
        "user_profiles.reengagement_opt_out may be NULL",
    ),
    "may not be null": Obstacle(
        "UPDATE user_profiles SET whatsapp_jid = '';"
        "ALTER TABLE user_profiles ALTER COLUMN whatsapp_jid SET NOT NULL",
        "job",
        "user_profiles.whatsapp_jid may not be NULL",
    ),
    "no default": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN status DROP DEFAULT",
        "job",
        "engagement_message_queue.status has no default",
    ),
    "default of a status": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN status SET DEFAULT 'queued'",
        "job",
        "engagement_message_queue.status has the default 'queued'::text",
    ),
    "default that begins with the right one": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN status SET DEFAULT 'pending'::text || 'x'",
        "job",
        "engagement_message_queue.status has the default ('pending'::text || 'x'::text)",
    ),
    "generated error": Obstacle(
        "ALTER TABLE engagement_message_queue DROP COLUMN error_message;"
        "ALTER TABLE engagement_message_queue"
        " ADD COLUMN error_message text GENERATED ALWAYS AS (lower(message_key)) STORED",
        "job",
        "engagement_message_queue.error_message is generated: lower(message_key)",
    ),
    "generated status": Obstacle(
        "ALTER TABLE engagement_message_queue DROP COLUMN status;"
        "ALTER TABLE engagement_message_queue"
        " ADD COLUMN status text NOT NULL GENERATED ALWAYS AS ('pending') STORED",
        "job",
        "engagement_message_queue.status is generated: 'pending'::text",
    ),
    "default of retries": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN retry_count SET DEFAULT 3",
        "job",
        "engagement_message_queue.retry_count has the default 3",
    ),
    "default of a state": Obstacle(
        "ALTER TABLE user_engagement_states ALTER COLUMN state SET DEFAULT 'dormant'",
        "job",
        "user_engagement_states.state has the default 'dormant'::text",
    ),
    "default of a time": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN sent_at SET DEFAULT now()",
        "job",
        "engagement_message_queue.sent_at has the default now()",
    ),
    "more columns": Obstacle(
        "ALTER TABLE engagement_message_queue ADD COLUMN tenant_id uuid NOT NULL DEFAULT"
        " gen_random_uuid();"
        "ALTER TABLE engagement_message_queue ALTER COLUMN tenant_id DROP DEFAULT",
        "job",
        "engagement_message_queue.tenant_id must have a value and has no default: no row could be added",
    ),
    "older statuses": Obstacle(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT ck_status"
        " CHECK (status IN ('pending', 'sent', 'failed', 'cancelled'))",
        "job",
        "engagement_message_queue.status has a CHECK, ck_status, that refuses values that the engine writes:"
        " sending, unknown",
    ),
    "older types in varchar": Obstacle(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT ck_type CHECK (message_type::varchar(20) IN"
        " ('welcome', 'tier_unlock', 'goodbye', 'weekly_review', 'reminder', 'help_restart')) NOT VALID",
        "job",
        "engagement_message_queue.message_type has a CHECK, ck_type, that refuses values that the engine"
        " writes: reply",
    ),
    "older statuses in a function": Obstacle(
        "CREATE FUNCTION is_status(text) RETURNS boolean IMMUTABLE LANGUAGE sql"
        " AS $$ SELECT $1 IN ('pending', 'sent', 'failed', 'cancelled') $$;"
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT ck_status CHECK (is_status(status))",
        "job",
        "engagement_message_queue.status has a CHECK, ck_status, that refuses values that the engine writes:"
        " sending, unknown",
    ),
    "older statuses in a table": Obstacle(
        "CREATE TABLE statuses (value varchar(20) PRIMARY KEY, label text);"
        "INSERT INTO statuses VALUES ('pending'), ('sent'), ('failed'), ('cancelled');"
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT fk_status"
        " FOREIGN KEY (status) REFERENCES statuses",
        "job",
        "engagement_message_queue.status has a foreign key, fk_status, to statuses, which lacks values that"
        " the engine writes: sending, unknown",
    ),
    "check of two columns": Obstacle(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT ck CHECK (message_type = 'goodbye'"
        " AND status IN ('pending', 'sending', 'sent', 'failed', 'unknown') OR message_type = 'welcome')",
        "job",
        "engagement_message_queue has a CHECK, ck, that does not name all values that the engine writes:"
        " message_type tier_unlock, weekly_review, reminder, help_restart, reply; status cancelled",
    ),
    "two states of a user": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT uq_user_engagement_states_user",
        "job",
        "user_engagement_states.user_id is not unique",
    ),
    "states without a foreign key of the user": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT fk_user_engagement_states_profiles,"
        " ADD COLUMN invited_by uuid REFERENCES user_profiles (user_id)",
        "job",
        "user_engagement_states.user_id has no foreign key to user_profiles",
    ),
    "states without a foreign key": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT fk_user_engagement_states_profiles",
        "job",
        "user_engagement_states.user_id has no foreign key to user_profiles",
    ),
    "another unique key": Obstacle(
        "CREATE UNIQUE INDEX once ON engagement_message_queue (user_id, message_type)",
        "job",
        "engagement_message_queue has another unique key, once, btree (user_id, message_type): a goodbye"
        " that violates it would be dropped silently",
    ),
    "unique key of some rows": Obstacle(
        "CREATE UNIQUE INDEX once ON engagement_message_queue (user_id) INCLUDE (idempotency_key)"
        " WHERE status = 'pending'",
        "job",
        "engagement_message_queue has another unique key, once, btree (user_id) INCLUDE (idempotency_key)"
        " WHERE (status = 'pending'::text): a goodbye that violates it would be dropped silently",
    ),
    "exclusion constraint": Obstacle(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT once EXCLUDE (lower(message_key) WITH =)",
        "job",
        "engagement_message_queue has another unique key, once, btree (lower(message_key)): a goodbye"
        " that violates it would be dropped silently",
    ),
    "deferrable key": Obstacle(
        "ALTER TABLE engagement_message_queue DROP CONSTRAINT uq_engagement_message_queue_key, ADD CONSTRAINT"
        " uq_engagement_message_queue_key UNIQUE (idempotency_key) DEFERRABLE INITIALLY DEFERRED",
        "job",
        "engagement_message_queue.uq_engagement_message_queue_key is deferrable: no row could be added with"
        " ON CONFLICT",
    ),
    "deferrable state of a user": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT uq_user_engagement_states_user, ADD CONSTRAINT"
        " uq_user_engagement_states_user UNIQUE (user_id) DEFERRABLE",
        "job",
        "user_engagement_states.uq_user_engagement_states_user is deferrable: no row could be added with"
        " ON CONFLICT",
    ),
    "column of the same name": Obstacle(
        "ALTER TABLE user_profiles ADD COLUMN time_zone text",
        "migrate",
        "user_profiles.time_zone is a column that a migration adds",
    ),
    "index of the same name": Obstacle(
        "CREATE INDEX message_pending_idx ON engagement_message_queue (status)",
        "migrate",
        "the name message_pending_idx is taken, by an index, a table or a type",
    ),
    "type of the same name": Obstacle(
        "CREATE TYPE engagement_job_runs AS (id int)",
        "migrate",
        "the name engagement_job_runs is taken, by an index, a table or a type",
    ),
    "constraint of the same name": Obstacle(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT message_status_known CHECK (status <> '')",
        "migrate",
        "the name message_status_known is taken, by a constraint of engagement_message_queue",
    ),
}
"""Columns, keys and names. The remedy is SQL that corrects the problem."""

CONTENTS: Final = {
    "unknown destination": Obstacle(
        "UPDATE user_profiles SET preferred_destination = 'broadcast'",
        "migrate",
        "1 of user_profiles: preferred_destination is neither individual nor group",
    ),
    "unknown state": Obstacle(
        "UPDATE user_engagement_states SET state = 'asleep'",
        "migrate",
        "1 of user_engagement_states: an unknown state",
    ),
    "goodbye without dates": Obstacle(
        "UPDATE user_engagement_states SET state = 'goodbye_sent', goodbye_sent_at = now()",
        "migrate",
        "1 of user_engagement_states: goodbye_sent without goodbye_sent_at or goodbye_expires_at",
    ),
    "reminder without date": Obstacle(
        "UPDATE user_engagement_states SET state = 'remind_later'",
        "migrate",
        "1 of user_engagement_states: remind_later without remind_at",
    ),
    "transition to an unknown state": Obstacle(
        "UPDATE engagement_state_transitions SET to_state = 'asleep'",
        "migrate",
        "1 of engagement_state_transitions: an unknown state",
    ),
    "transition from an unknown state": Obstacle(
        "UPDATE engagement_state_transitions SET from_state = 'asleep'",
        "migrate",
        "1 of engagement_state_transitions: an unknown state",
    ),
    "unknown trigger": Obstacle(
        "UPDATE engagement_state_transitions SET trigger = 'boredom'",
        "migrate",
        "1 of engagement_state_transitions: an unknown trigger",
    ),
    "unknown message type": Obstacle(
        "UPDATE engagement_message_queue SET message_type = 'advertisement'",
        "migrate",
        "1 of engagement_message_queue: an unknown message_type",
    ),
    "message to an unknown destination": Obstacle(
        "UPDATE engagement_message_queue SET destination = 'broadcast'",
        "migrate",
        "1 of engagement_message_queue: destination is neither individual nor group",
    ),
    "outcome in doubt": Obstacle(
        "UPDATE engagement_message_queue SET status = 'unknown'",
        "migrate",
        "1 of engagement_message_queue: sending or unknown: nobody knows whether it arrived",
    ),
    "unknown status": Obstacle(
        "UPDATE engagement_message_queue SET status = 'lost'",
        "migrate",
        "1 of engagement_message_queue: an unknown status",
    ),
    "duplicate idempotency key": Obstacle(
        "ALTER TABLE engagement_message_queue DROP CONSTRAINT uq_engagement_message_queue_key;"
        "INSERT INTO engagement_message_queue (user_id, message_type, message_key, destination,"
        " destination_jid, idempotency_key) SELECT user_id, message_type, message_key, destination,"
        " destination_jid, idempotency_key FROM engagement_message_queue",
        "migrate",
        "1 of engagement_message_queue: another message has the same idempotency key",
    ),
}
"""Rows that make `migrate` fail."""

UNSEEN_BY_MIGRATE: Final = {
    "opt-out is null": Obstacle(
        "ALTER TABLE user_profiles ALTER COLUMN reengagement_opt_out DROP NOT NULL;"
        "UPDATE user_profiles SET reengagement_opt_out = NULL",
        "job",
        "1 of user_profiles: NULL in a column that needs a value",
    ),
    "last activity is null": Obstacle(
        "ALTER TABLE user_engagement_states ALTER COLUMN last_activity_at DROP NOT NULL;"
        "UPDATE user_engagement_states SET last_activity_at = NULL",
        "job",
        "1 of user_engagement_states: NULL in a column that needs a value",
    ),
    "message type is null": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER COLUMN message_type DROP NOT NULL;"
        "UPDATE engagement_message_queue SET message_type = NULL",
        "job",
        "1 of engagement_message_queue: NULL in a column that needs a value",
    ),
    "two states": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT uq_user_engagement_states_user;"
        f"INSERT INTO user_engagement_states (user_id) VALUES ('{USER}')",
        "job",
        "1 of user_engagement_states: the user has another row",
    ),
    "id of another kind": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER id DROP DEFAULT,"
        " ALTER id TYPE varchar(36) USING 'message-1'",
        "job",
        "1 of engagement_message_queue: id is text and not a UUID",
    ),
    "padded id of another kind": Obstacle(
        "ALTER TABLE engagement_message_queue ALTER id DROP DEFAULT,"
        " ALTER id TYPE char(36) USING 'message-1'",
        "job",
        "1 of engagement_message_queue: id is text and not a UUID",
    ),
    "state without a profile": Obstacle(
        "ALTER TABLE user_engagement_states DROP CONSTRAINT fk_user_engagement_states_profiles;"
        "DELETE FROM user_profiles",
        "job",
        "1 of user_engagement_states: the user has no profile and would never be sent a goodbye",
    ),
}
"""Rows that `migrate` accepts and that make the job fail or give wrong results."""

TIMES: Final = (
    "user_profiles.created_at",
    "user_profiles.updated_at",
    "user_engagement_states.last_activity_at",
    "user_engagement_states.goodbye_sent_at",
    "user_engagement_states.goodbye_expires_at",
    "user_engagement_states.remind_at",
    "user_engagement_states.created_at",
    "user_engagement_states.updated_at",
    "engagement_state_transitions.created_at",
    "engagement_message_queue.scheduled_for",
    "engagement_message_queue.sent_at",
    "engagement_message_queue.created_at",
)
"""Columns with a time, which must be from 1970 to 2999."""

OTHER_IDS: Final = """
    DROP POLICY own_rows ON user_profiles;
    DROP POLICY own_rows ON user_engagement_states;
    DROP POLICY own_rows ON engagement_state_transitions;
    DROP POLICY own_rows ON engagement_message_queue;
    ALTER TABLE user_profiles DROP CONSTRAINT fk_user_profiles_users;
    ALTER TABLE user_engagement_states DROP CONSTRAINT fk_user_engagement_states_users,
        DROP CONSTRAINT fk_user_engagement_states_profiles;
    ALTER TABLE engagement_state_transitions DROP CONSTRAINT fk_engagement_state_transitions_users;
    ALTER TABLE engagement_message_queue DROP CONSTRAINT fk_engagement_message_queue_users;
    ALTER TABLE user_profiles ALTER user_id TYPE {type} USING {value};
    ALTER TABLE user_engagement_states ALTER user_id TYPE {type} USING {value};
    ALTER TABLE engagement_state_transitions ALTER user_id TYPE {type} USING {value};
    ALTER TABLE engagement_message_queue ALTER user_id TYPE {type} USING {value};
    ALTER TABLE user_engagement_states ADD CONSTRAINT fk_profiles
        FOREIGN KEY (user_id) REFERENCES user_profiles (user_id) ON DELETE CASCADE;
"""
"""Users with ids of another type."""
