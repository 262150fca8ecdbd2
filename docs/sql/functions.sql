-- Functions for a program that writes to the tables itself, in any language: what a user's message does, and how a
-- message is claimed, reported and sent at most once.
--
--     psql --dbname engagement --file docs/sql/functions.sql
--
-- Run it as the owner of the tables, and again after an update. Each function is one transaction's work and takes
-- the locks in the order of all writers: state, profile, message. They know no settings: replies count for 14 days,
-- the wait for an answer is 48 hours. They neither recognise repeated messages nor read texts, opt-outs, sending
-- hours, pace, caps, pauses or the suppression list, and they do not know which message keys have a text; the HTTP
-- API and the Python services do.

-- The goodbye of a user's wait that began then: the message with the key of that day; if there is none, the user's
-- newest goodbye since then.
CREATE OR REPLACE FUNCTION engagement_goodbye_of_wait(the_user uuid, began_at timestamptz)
RETURNS SETOF engagement_message_queue LANGUAGE sql STABLE AS $$
    SELECT * FROM engagement_message_queue
    WHERE user_id = the_user AND (
        idempotency_key = the_user || ':goodbye_sent:' || to_char(began_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
        OR message_type = 'goodbye' AND created_at >= began_at
    )
    ORDER BY
        idempotency_key = the_user || ':goodbye_sent:' || to_char(began_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') DESC,
        created_at DESC, id DESC
    LIMIT 1
$$;

-- The second in which a user was, or may have been, sent the goodbye of a wait that began then; -infinity if they were
-- not. Without a row, its sender may have deleted it: then it counts from the begin of the wait.
CREATE OR REPLACE FUNCTION engagement_goodbye_sent_at(the_user uuid, began_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT date_trunc('second', coalesce((
        SELECT CASE
            WHEN status = 'sent' AND (failed_at IS NULL OR coalesce(delivered_at, read_at) IS NOT NULL)
                OR status IN ('sending', 'unknown')
                OR status IN ('pending', 'cancelled') AND retry_count > 0
            THEN coalesce(claimed_at, sent_at, began_at)
            ELSE '-infinity'
        END
        FROM engagement_goodbye_of_wait(the_user, began_at)
    ), began_at))
$$;

-- Cancel the pending goodbyes of a user who has written.
CREATE OR REPLACE FUNCTION engagement_cancel_goodbyes(the_user uuid) RETURNS void LANGUAGE sql AS $$
    WITH pending AS (
        SELECT id FROM engagement_message_queue
        WHERE user_id = the_user AND message_type = 'goodbye' AND status = 'pending'
        ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE engagement_message_queue SET status = 'cancelled', outcome_reason = 'user_wrote'
    WHERE id IN (SELECT id FROM pending)
$$;

-- When a user last came to a state, by a transition that was not undone.
CREATE OR REPLACE FUNCTION engagement_entered_at(the_user uuid, the_state text)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT max(created_at) FROM engagement_state_transitions AS transition
    WHERE user_id = the_user AND to_state = the_state AND NOT EXISTS (
        SELECT FROM engagement_state_transitions AS undoing
        WHERE undoing.user_id = the_user AND undoing.trigger = 'run_undone'
            AND undoing.metadata ->> 'undone_transition_id' = transition.id::text
    )
$$;

-- The time that a text holds in ISO 8601 with an offset; NULL for any other text.
CREATE OR REPLACE FUNCTION engagement_time(written text)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF written ~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?'
        || '(Z|[+-][0-9]{2}(:?[0-9]{2}){0,2})$')
    THEN
        RETURN written::timestamptz;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- A user has written. `trigger` is user_message, or goodbye_response_1, _2 or _3 for an answer to the goodbye.
-- Moves the user, writes the audit row, and cancels a pending goodbye. Returns the new state, or NULL for a user
-- without a profile. An answer that does not count, because no goodbye was sent, is a message like any other.
CREATE OR REPLACE FUNCTION engagement_user_wrote(the_user uuid, the_trigger text, heard_at timestamptz DEFAULT now())
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was user_engagement_states;
    moment timestamptz := clock_timestamp();
    becomes text;
    entered_at timestamptz;
    last_heard_at timestamptz;
    dormant_since timestamptz;
    active_at timestamptz;
    facts jsonb;
BEGIN
    IF the_trigger IS NULL
        OR the_trigger NOT IN ('user_message', 'goodbye_response_1', 'goodbye_response_2', 'goodbye_response_3')
    THEN
        RAISE EXCEPTION 'unknown trigger %', the_trigger USING ERRCODE = 'invalid_parameter_value';
    END IF;
    heard_at := least(heard_at, moment);
    INSERT INTO user_engagement_states (user_id, last_activity_at)
        SELECT user_id, heard_at FROM user_profiles WHERE user_id = the_user
        ON CONFLICT (user_id) DO NOTHING;
    SELECT * INTO was FROM user_engagement_states WHERE user_id = the_user FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Whoever was not sent the goodbye does not answer it. Without a row, its sender may have deleted it.
    IF the_trigger <> 'user_message' AND NOT (was.state = 'goodbye_sent' AND coalesce((
        SELECT status IN ('sending', 'unknown', 'sent')
            AND (failed_at IS NULL OR coalesce(delivered_at, read_at) IS NOT NULL)
            AND date_trunc('second', coalesce(claimed_at, sent_at, was.goodbye_sent_at)) <= heard_at
        FROM engagement_goodbye_of_wait(the_user, was.goodbye_sent_at)
    ), date_trunc('second', was.goodbye_sent_at) <= heard_at)) THEN
        the_trigger := 'user_message';
    END IF;
    becomes := CASE the_trigger
        WHEN 'user_message' THEN 'active'
        WHEN 'goodbye_response_1' THEN 'help_flow'
        WHEN 'goodbye_response_2' THEN 'remind_later'
        WHEN 'goodbye_response_3' THEN 'dormant'
    END;
    -- A message changes nothing that is older than the last one that moved the user, or than the last activity and
    -- the state that it would end.
    SELECT least(received_at, created_at) INTO last_heard_at
        FROM engagement_state_transitions, engagement_time(metadata ->> 'received_at') AS received_at
        WHERE user_id = the_user AND received_at IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT 1;
    entered_at := coalesce(was.goodbye_sent_at, engagement_entered_at(the_user, was.state), was.last_activity_at);
    IF heard_at < last_heard_at
        OR was.state <> 'active' AND heard_at <= was.last_activity_at AND heard_at < entered_at
    THEN
        IF was.state = 'active' THEN
            PERFORM engagement_cancel_goodbyes(the_user);
        END IF;
        RETURN was.state;
    END IF;
    active_at := heard_at;
    IF was.state <> 'active' THEN
        -- If the message was under way when the user was sent a goodbye, the silence counts from that one.
        active_at := least(moment, greatest(heard_at, engagement_goodbye_sent_at(
            the_user, coalesce(was.goodbye_sent_at, engagement_entered_at(the_user, 'goodbye_sent'))
        )));
    END IF;
    IF was.state <> 'active' OR becomes <> 'active' THEN
        -- Never before the user entered their state.
        moment := greatest(moment, entered_at);
        facts := jsonb_build_object(
            'days_inactive', greatest(floor(extract(epoch FROM moment - was.last_activity_at) / 86400)::bigint, 0),
            'trigger_source', 'user_message',
            'received_at', heard_at
        );
        IF the_trigger <> 'user_message' THEN
            facts := facts || jsonb_build_object(
                'response_type', CASE the_trigger
                    WHEN 'goodbye_response_1' THEN 'confused'
                    WHEN 'goodbye_response_2' THEN 'busy'
                    ELSE 'all_good'
                END,
                'hours_waited', greatest(floor(extract(epoch FROM moment - was.goodbye_sent_at) / 3600)::bigint, 0),
                'days_since_goodbye', greatest(floor(extract(epoch FROM moment - was.goodbye_sent_at) / 86400)::bigint, 0)
            );
        END IF;
        IF was.state = 'dormant' THEN
            dormant_since := engagement_entered_at(the_user, 'dormant');
            IF moment - coalesce(dormant_since, was.last_activity_at) >= interval '3 days' THEN
                facts := facts || '{"unprompted_return": true}';
            END IF;
        END IF;
        -- What the transition overwrites, so that it can be explained and undone.
        IF was.goodbye_sent_at IS NOT NULL OR was.remind_at IS NOT NULL THEN
            facts := facts || jsonb_build_object('former_timestamps', jsonb_strip_nulls(jsonb_build_object(
                'goodbye_sent_at', was.goodbye_sent_at,
                'goodbye_expires_at', was.goodbye_expires_at,
                'remind_at', was.remind_at
            )));
        END IF;
        INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger, metadata, created_at)
            VALUES (the_user, was.state, becomes, the_trigger, facts, moment);
    END IF;
    UPDATE user_engagement_states
    SET state = becomes,
        last_activity_at = CASE becomes
            WHEN 'active' THEN greatest(last_activity_at, active_at) ELSE last_activity_at
        END,
        goodbye_sent_at = NULL,
        goodbye_expires_at = NULL,
        remind_at = CASE becomes WHEN 'remind_later' THEN moment + interval '14 days' END,
        updated_at = moment
    WHERE user_id = the_user;
    PERFORM engagement_cancel_goodbyes(the_user);
    RETURN becomes;
END $$;

-- Claim one due message for `sender`, or none. Commit before the first byte leaves. What must not be sent any more is
-- cancelled; a call that does nothing else ends after three seconds, to release its locks. `attempt_id` is a
-- time-ordered UUID of `claimed_at`. A goodbye's wait is extended: it counts from here.
CREATE OR REPLACE FUNCTION engagement_claim(sender text, lease interval DEFAULT '2 minutes')
RETURNS SETOF engagement_message_queue LANGUAGE plpgsql AS $$
DECLARE
    -- A character that is neither blank nor invisible; an address without one is none.
    visible CONSTANT text :=
        '[^\u0001-\u0020\u007F-\u00A0\u00AD\u1680\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\uFEFF]';
    -- White space in every locale.
    blanks CONSTANT text :=
        '[\u0009-\u000D\u001C-\u0020\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000]+';
    due_by CONSTANT timestamptz := clock_timestamp();
    page_size integer;
    candidate record;
    message engagement_message_queue;
    profile user_profiles;
    user_state user_engagement_states;
    moment timestamptz;
    reason text;
BEGIN
    IF coalesce(sender, '') = '' OR lease IS NULL OR lease <= interval '0' THEN
        RAISE EXCEPTION 'a claim needs the name of its sender and a lease longer than nothing'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- All due messages only if none of the first could be claimed: sorting them takes longer.
    FOREACH page_size IN ARRAY ARRAY[50, NULL] LOOP
        FOR candidate IN
            SELECT id, user_id FROM engagement_message_queue
            WHERE status = 'pending' AND coalesce(next_attempt_at, scheduled_for) <= due_by
            ORDER BY message_type <> 'reply', coalesce(next_attempt_at, scheduled_for), id
            LIMIT page_size
        LOOP
            IF clock_timestamp() > due_by + interval '3 seconds' THEN
                RETURN;
            END IF;
            SELECT * INTO user_state FROM user_engagement_states
                WHERE user_id = candidate.user_id FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND AND EXISTS (
                SELECT FROM user_engagement_states WHERE user_id = candidate.user_id
            );
            SELECT * INTO profile FROM user_profiles
                WHERE user_id = candidate.user_id FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND AND EXISTS (SELECT FROM user_profiles WHERE user_id = candidate.user_id);
            SELECT * INTO message FROM engagement_message_queue
                WHERE id = candidate.id AND status = 'pending'
                    AND coalesce(next_attempt_at, scheduled_for) <= clock_timestamp()
                FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            moment := date_trunc('milliseconds', clock_timestamp());
            reason := CASE
                WHEN profile.user_id IS NULL THEN 'no_profile'
                WHEN coalesce(profile.whatsapp_jid, '') !~ visible THEN 'no_address'
                WHEN message.message_type = 'goodbye' THEN CASE
                    WHEN user_state.state IS DISTINCT FROM 'goodbye_sent' THEN 'not_this_wait'
                    WHEN message.id IS DISTINCT FROM (
                        SELECT id FROM engagement_goodbye_of_wait(message.user_id, user_state.goodbye_sent_at)
                    ) THEN 'not_this_wait'
                    WHEN user_state.goodbye_expires_at <= moment THEN 'wait_over'
                    WHEN profile.reengagement_opt_out THEN 'opted_out'
                END
                WHEN message.message_type IN ('reminder', 'weekly_review', 'help_restart')
                    AND profile.reengagement_opt_out THEN 'opted_out'
                WHEN message.message_type = 'reply'
                    AND moment - least(message.created_at, message.scheduled_for) >= interval '23 hours' THEN 'too_old'
                WHEN message.message_type <> 'reply'
                    AND moment - message.scheduled_for >= interval '48 hours' THEN 'too_old'
            END;
            IF reason IS NULL AND jsonb_typeof(message.message_params) <> 'object' THEN
                reason := 'cannot_be_rendered';
            END IF;
            IF reason IS NOT NULL THEN
                UPDATE engagement_message_queue
                SET status = CASE reason WHEN 'cannot_be_rendered' THEN 'failed' ELSE 'cancelled' END,
                    outcome_reason = reason,
                    destination_jid = CASE reason WHEN 'no_profile' THEN '' ELSE destination_jid END,
                    next_attempt_at = NULL
                WHERE id = message.id;
                CONTINUE;
            END IF;
            IF message.message_type = 'goodbye' THEN
                UPDATE user_engagement_states
                SET goodbye_expires_at = greatest(goodbye_expires_at, moment + interval '48 hours')
                WHERE user_id = message.user_id;
            END IF;
            RETURN QUERY UPDATE engagement_message_queue
                SET status = 'sending',
                    attempt_id = (
                        lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
                        || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 3)
                        || '8' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 15)
                    )::uuid,
                    claimed_at = moment,
                    claim_expires_at = moment + lease,
                    backend = sender,
                    destination_jid = regexp_replace(
                        profile.whatsapp_jid, '^' || blanks || '|' || blanks || '$', '', 'g'
                    ),
                    lease_request_id = NULL,
                    next_attempt_at = NULL,
                    outcome_reason = NULL
                WHERE id = message.id
                RETURNING *;
            RETURN;
        END LOOP;
    END LOOP;
END $$;

-- Report how an attempt ended: `sent`; `failed` for good; `not_sent`, if it has certainly not left, to be tried again
-- after `wait`; or `unknown` in all doubt. Returns whether anything changed: an attempt that is not the message's
-- present one only counts if it was sent. The present one may still be reported after its claim has expired.
CREATE OR REPLACE FUNCTION engagement_report(
    the_message uuid,
    attempt uuid,
    outcome text,
    provider_id text DEFAULT NULL,
    reason text DEFAULT NULL,
    wait interval DEFAULT '1 minute'
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    attempted_at timestamptz;
BEGIN
    IF outcome IS NULL OR outcome NOT IN ('sent', 'failed', 'not_sent', 'unknown') THEN
        RAISE EXCEPTION 'unknown outcome %', outcome USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The time in a version 7 UUID, if it can be one of this message's attempts.
    SELECT at_time INTO attempted_at
        FROM (SELECT to_timestamp(
            ('x' || substr(replace(attempt::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0
        ) AS at_time) AS claimed, engagement_message_queue AS message
        WHERE message.id = the_message AND substr(attempt::text, 15, 1) = '7'
            AND at_time BETWEEN least(message.created_at, message.scheduled_for) - interval '1 minute'
                AND clock_timestamp() + interval '1 minute';
    IF outcome = 'sent' THEN
        UPDATE engagement_message_queue
        SET sent_at = CASE status
                WHEN 'sent' THEN sent_at ELSE coalesce(attempted_at, claimed_at, clock_timestamp())
            END,
            status = 'sent',
            claimed_at = coalesce(claimed_at, attempted_at),
            attempt_id = coalesce(attempt_id, attempt),
            provider_message_id = CASE
                -- An id of WhatsApp holds the number.
                WHEN idempotency_key NOT LIKE 'erased:%' THEN coalesce(provider_message_id, provider_id)
            END,
            claim_expires_at = NULL,
            next_attempt_at = NULL,
            -- A receipt may have said why a message that was sent has failed.
            outcome_reason = CASE status WHEN 'sent' THEN outcome_reason END,
            error_code = CASE status WHEN 'sent' THEN error_code END,
            error_message = CASE status WHEN 'sent' THEN error_message END
        WHERE id = the_message;
        RETURN FOUND;
    END IF;
    UPDATE engagement_message_queue
    SET status = CASE outcome WHEN 'not_sent' THEN 'pending' ELSE outcome END,
        outcome_reason = CASE outcome
            WHEN 'not_sent' THEN 'waiting_retry'
            ELSE coalesce(reason, outcome)
        END,
        next_attempt_at = CASE outcome WHEN 'not_sent' THEN clock_timestamp() + coalesce(wait, '1 minute') END,
        retry_count = retry_count + (outcome = 'failed')::integer,
        error_code = CASE outcome WHEN 'unknown' THEN error_code END,
        error_message = CASE outcome WHEN 'failed' THEN reason ELSE error_message END,
        -- What was certainly not sent was never tried.
        attempt_id = CASE outcome WHEN 'not_sent' THEN NULL ELSE attempt_id END,
        claimed_at = CASE outcome WHEN 'not_sent' THEN NULL ELSE claimed_at END,
        claim_expires_at = NULL
    -- Not of a user who was erased: the reason may hold the number, and nothing is tried again.
    WHERE id = the_message AND attempt_id = attempt AND idempotency_key NOT LIKE 'erased:%'
        AND (status = 'sending' OR status = 'unknown' AND outcome_reason = 'claim_expired');
    RETURN FOUND;
END $$;
