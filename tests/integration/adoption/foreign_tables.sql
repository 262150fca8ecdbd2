-- The assistant's tables as they were before this project: made by hand, in the manner of another
-- language's object mapper, which names constraints and indexes in its own way and knows no CHECK.
-- Its users live in a schema of their own; every table here hangs on them, is guarded row by row, and
-- keeps `updated_at` by a trigger.

CREATE SCHEMA accounts;
CREATE TABLE accounts.users (
    id uuid CONSTRAINT pk_users PRIMARY KEY DEFAULT gen_random_uuid(),
    signed_up_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_profiles (
    user_id uuid CONSTRAINT pk_user_profiles PRIMARY KEY
        CONSTRAINT fk_user_profiles_users REFERENCES accounts.users (id) ON DELETE CASCADE,
    whatsapp_jid text,
    preferred_destination text NOT NULL DEFAULT 'individual',
    locale text NOT NULL DEFAULT 'pt-BR',
    reengagement_opt_out boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE user_engagement_states (
    id uuid CONSTRAINT pk_user_engagement_states PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT uq_user_engagement_states_user UNIQUE
        CONSTRAINT fk_user_engagement_states_users REFERENCES accounts.users (id) ON DELETE CASCADE
        CONSTRAINT fk_user_engagement_states_profiles REFERENCES user_profiles (user_id) ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'active',
    last_activity_at timestamptz NOT NULL DEFAULT now(),
    goodbye_sent_at timestamptz,
    goodbye_expires_at timestamptz,
    remind_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_user_engagement_states_state ON user_engagement_states (state);

CREATE TABLE engagement_state_transitions (
    id uuid CONSTRAINT pk_engagement_state_transitions PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT fk_engagement_state_transitions_users REFERENCES accounts.users (id),
    from_state text NOT NULL,
    to_state text NOT NULL,
    trigger text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE engagement_message_queue (
    id uuid CONSTRAINT pk_engagement_message_queue PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL CONSTRAINT fk_engagement_message_queue_users REFERENCES accounts.users (id),
    message_type text NOT NULL,
    message_key text NOT NULL,
    message_params jsonb NOT NULL DEFAULT '{}',
    destination text NOT NULL,
    destination_jid text NOT NULL,
    scheduled_for timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    status text NOT NULL DEFAULT 'pending',
    retry_count integer NOT NULL DEFAULT 0,
    error_message text,
    idempotency_key text NOT NULL CONSTRAINT uq_engagement_message_queue_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_engagement_message_queue_pending ON engagement_message_queue (status, scheduled_for);

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER touch_user_profiles BEFORE UPDATE ON user_profiles
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_user_engagement_states BEFORE UPDATE ON user_engagement_states
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Whoever is not told otherwise sees the rows of one user: the one for whom the program speaks.
CREATE FUNCTION speaks_for() RETURNS uuid STABLE LANGUAGE sql
    AS $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;
ALTER TABLE user_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_engagement_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE engagement_state_transitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE engagement_message_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON user_profiles USING (user_id = speaks_for());
CREATE POLICY own_rows ON user_engagement_states USING (user_id = speaks_for());
CREATE POLICY own_rows ON engagement_state_transitions USING (user_id = speaks_for());
CREATE POLICY own_rows ON engagement_message_queue USING (user_id = speaks_for());
