"""The tables as a program without Django sees them: through plain SQL."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from engagement.models import VISIBLE, UserProfile
from engagement.selectors.due_users import Position, next_page
from engagement.states import CHECKS, Check, Policy
from tests.database import execute, truncate_users
from tests.factories import NOW, TICK, make_users

pytestmark = pytest.mark.django_db

TABLES: Final = (
    "user_profiles",
    "user_engagement_states",
    "engagement_state_transitions",
    "engagement_message_queue",
    "engagement_job_runs",
    "engagement_sending_channels",
)

COLUMNS: Final = {
    "user_profiles": {
        "user_id uuid",
        "whatsapp_jid text null",
        "preferred_destination text",
        "locale text",
        "time_zone text null",
        "reengagement_opt_out boolean",
        "opt_out_changed_at timestamp with time zone null",
        "opt_out_source text null",
        "created_at timestamp with time zone",
        "updated_at timestamp with time zone",
    },
    "user_engagement_states": {
        "id uuid",
        "user_id uuid",
        "state text",
        "last_activity_at timestamp with time zone",
        "goodbye_sent_at timestamp with time zone null",
        "goodbye_expires_at timestamp with time zone null",
        "remind_at timestamp with time zone null",
        "created_at timestamp with time zone",
        "updated_at timestamp with time zone",
    },
    "engagement_state_transitions": {
        "id uuid",
        "user_id uuid",
        "from_state text",
        "to_state text",
        "trigger text",
        "metadata jsonb",
        "created_at timestamp with time zone",
    },
    "engagement_message_queue": {
        "id uuid",
        "user_id uuid",
        "message_type text",
        "message_key text",
        "message_params jsonb",
        "destination text",
        "destination_jid text",
        "scheduled_for timestamp with time zone",
        "sent_at timestamp with time zone null",
        "status text",
        "retry_count integer",
        "error_message text null",
        "idempotency_key text",
        "created_at timestamp with time zone",
        "attempt_id uuid null",
        "claimed_at timestamp with time zone null",
        "claim_expires_at timestamp with time zone null",
        "next_attempt_at timestamp with time zone null",
        "backend text null",
        "provider_message_id text null",
        "delivered_at timestamp with time zone null",
        "read_at timestamp with time zone null",
        "failed_at timestamp with time zone null",
        "error_code text null",
        "outcome_reason text null",
        "lease_request_id uuid null",
    },
    "engagement_job_runs": {
        "job_id uuid",
        "status text",
        "now timestamp with time zone",
        "started_at timestamp with time zone",
        "last_seen_at timestamp with time zone",
        "finished_at timestamp with time zone null",
        "processed integer null",
        "succeeded integer",
        "failed integer",
        "skipped integer",
        "skipped_by_reason jsonb",
        "checks jsonb",
        "errors jsonb",
        "still_due integer null",
        "failure text null",
        "options jsonb",
        "host text",
        "pid integer null",
        "version text",
    },
    "engagement_sending_channels": {
        "id uuid",
        "backend text",
        "scope text",
        "paused_until timestamp with time zone null",
        "pause_reason text null",
        "next_slot_at timestamp with time zone null",
        "slowed_until timestamp with time zone null",
        "resumed_at timestamp with time zone null",
        "updated_at timestamp with time zone",
    },
}

INDEXES: Final = {
    "user_profiles": {
        "user_profiles_pkey": "UNIQUE (user_id)",
        "profile_created_idx": "(created_at, user_id)",
        "profile_number_end_idx": (
            "(reverse(regexp_replace(split_part(split_part(whatsapp_jid, '@'::text, 1), ':'::text, 1),"
            " '[^0-9]'::text, ''::text, 'g'::text)) text_pattern_ops)"
        ),
        "profile_jid_idx": "(whatsapp_jid text_pattern_ops)",
        "profile_skipped_idx": "(user_id) WHERE (reengagement_opt_out OR (whatsapp_jid IS NULL)"
        f" OR (NOT ((whatsapp_jid ~ '{VISIBLE}'::text) AND (whatsapp_jid IS NOT NULL))))",
        "profile_opted_out_idx": "(opt_out_changed_at, user_id) WHERE reengagement_opt_out",
    },
    "user_engagement_states": {
        "user_engagement_states_pkey": "UNIQUE (id)",
        "user_engagement_states_user_id_key": "UNIQUE (user_id)",
        "state_active_idx": "(last_activity_at, user_id) WHERE (state = 'active'::text)",
        "state_goodbye_sent_idx": "(goodbye_expires_at, user_id) WHERE (state = 'goodbye_sent'::text)",
        "state_remind_later_idx": "(remind_at, user_id) WHERE (state = 'remind_later'::text)",
        "state_last_activity_idx": "(last_activity_at)",
        "state_others_idx": "(state, last_activity_at, user_id) WHERE (NOT (state = 'active'::text))",
    },
    "engagement_state_transitions": {
        "engagement_state_transitions_pkey": "UNIQUE (id)",
        "transition_user_idx": "(user_id, created_at)",
        "transition_run_idx": "(((metadata ->> 'job_id'::text)))"
        " WHERE ((metadata ->> 'job_id'::text) IS NOT NULL)",
        "transition_undone_run_idx": "(((metadata ->> 'undone_job_id'::text)))"
        " WHERE (trigger = 'run_undone'::text)",
    },
    "engagement_message_queue": {
        "engagement_message_queue_pkey": "UNIQUE (id)",
        "message_idempotency_key_unique": "UNIQUE (idempotency_key)",
        "message_due_idx": "(COALESCE(next_attempt_at, scheduled_for), id) WHERE (status = 'pending'::text)",
        "message_in_doubt_idx": "(claim_expires_at)"
        " WHERE (status = ANY (ARRAY['sending'::text, 'unknown'::text]))",
        "message_claimed_idx": "(claimed_at) WHERE (claimed_at IS NOT NULL)",
        "message_user_idx": "(user_id, created_at)",
        "message_created_idx": "(created_at, id)",
        "message_failed_idx": "(id) WHERE (status = 'failed'::text)",
        "message_provider_id_idx": "(provider_message_id) WHERE (provider_message_id IS NOT NULL)",
        "message_lease_idx": "(lease_request_id) WHERE (lease_request_id IS NOT NULL)",
    },
    "engagement_job_runs": {
        "engagement_job_runs_pkey": "UNIQUE (job_id)",
        "job_run_started_idx": "(started_at DESC)",
        "job_run_good_idx": "(LEAST(now, finished_at) DESC)"
        " WHERE (status = ANY (ARRAY['succeeded'::text, 'partial'::text]))",
    },
    "engagement_sending_channels": {
        "engagement_sending_channels_pkey": "UNIQUE (id)",
        "channel_backend_scope_unique": "UNIQUE (backend, scope)",
    },
}

USER: Final = "00000000-0000-4000-8000-000000000001"

TRANSITION: Final = {
    "user_id": USER,
    "from_state": "active",
    "to_state": "goodbye_sent",
    "trigger": "inactivity_14d",
}
MESSAGE: Final = {
    "user_id": USER,
    "message_type": "goodbye",
    "message_key": "engagement.goodbye.self_select",
    "destination": "individual",
    "destination_jid": "9990000000001@s.whatsapp.net",
    "idempotency_key": "key",
}
NEEDED: Final[dict[str, dict[str, Any]]] = {
    "user_profiles": {},
    "user_engagement_states": {"user_id": USER},
    "engagement_state_transitions": TRANSITION,
    "engagement_message_queue": MESSAGE,
    "engagement_job_runs": {},
    "engagement_sending_channels": {"backend": "console"},
}

STATES: Final = ("active", "goodbye_sent", "help_flow", "remind_later", "dormant")
TRIGGERS: Final = (
    "inactivity_14d",
    "user_message",
    "goodbye_response_1",
    "goodbye_response_2",
    "goodbye_response_3",
    "goodbye_timeout",
    "reminder_due",
    "run_undone",
)
MESSAGE_TYPES: Final = (
    *("welcome", "tier_unlock", "goodbye", "weekly_review", "reminder", "help_restart", "reply"),
)
STATUSES: Final = ("pending", "sending", "sent", "failed", "cancelled", "unknown")
DATES: Final = {"goodbye_sent_at": NOW, "goodbye_expires_at": NOW, "remind_at": NOW}

ALLOWED: Final = [
    *(("user_profiles", {"preferred_destination": value}) for value in ("individual", "group")),
    *(("user_engagement_states", {**DATES, "state": state}) for state in STATES),
    *(("engagement_state_transitions", {"from_state": state}) for state in STATES),
    *(("engagement_state_transitions", {"to_state": state}) for state in STATES),
    *(("engagement_state_transitions", {"trigger": trigger}) for trigger in TRIGGERS),
    *(("engagement_message_queue", {"message_type": value}) for value in MESSAGE_TYPES),
    *(("engagement_message_queue", {"destination": value}) for value in ("individual", "group")),
    *(("engagement_message_queue", {"status": s}) for s in STATUSES),
    ("engagement_job_runs", {"status": "running"}),
    *(
        ("engagement_job_runs", {"status": status, "finished_at": NOW})
        for status in ("succeeded", "partial", "failed", "interrupted")
    ),
]

REFUSED: Final = [
    ("user_profiles_destination_known", "user_profiles", {"preferred_destination": "broadcast"}),
    ("engagement_state_known", "user_engagement_states", {"state": "asleep"}),
    ("engagement_state_known", "user_engagement_states", {"state": ""}),
    ("goodbye_sent_has_its_dates", "user_engagement_states", {"state": "goodbye_sent"}),
    (
        "goodbye_sent_has_its_dates",
        "user_engagement_states",
        {"state": "goodbye_sent", "goodbye_sent_at": NOW},
    ),
    (
        "goodbye_sent_has_its_dates",
        "user_engagement_states",
        {"state": "goodbye_sent", "goodbye_expires_at": NOW, "remind_at": NOW},
    ),
    ("remind_later_has_its_date", "user_engagement_states", {"state": "remind_later"}),
    (
        "remind_later_has_its_date",
        "user_engagement_states",
        {"state": "remind_later", "goodbye_sent_at": NOW, "goodbye_expires_at": NOW},
    ),
    ("transition_from_state_known", "engagement_state_transitions", {"from_state": "asleep"}),
    ("transition_to_state_known", "engagement_state_transitions", {"to_state": "asleep"}),
    ("transition_trigger_known", "engagement_state_transitions", {"trigger": "boredom"}),
    ("message_type_known", "engagement_message_queue", {"message_type": "advertisement"}),
    ("message_destination_known", "engagement_message_queue", {"destination": "broadcast"}),
    ("message_status_known", "engagement_message_queue", {"status": "lost"}),
    ("job_run_status_known", "engagement_job_runs", {"status": "vanished", "finished_at": NOW}),
    ("job_run_finished_unless_running", "engagement_job_runs", {"status": "succeeded"}),
    ("job_run_finished_unless_running", "engagement_job_runs", {"status": "running", "finished_at": NOW}),
]


TIMES: Final = {
    "user_profiles": ("profile", ("opt_out_changed_at", "created_at", "updated_at")),
    "user_engagement_states": (
        "state",
        (
            "last_activity_at",
            "goodbye_sent_at",
            "goodbye_expires_at",
            "remind_at",
            "created_at",
            "updated_at",
        ),
    ),
    "engagement_state_transitions": ("transition", ("created_at",)),
    "engagement_message_queue": (
        "message",
        (
            *("scheduled_for", "sent_at", "created_at", "claimed_at", "claim_expires_at", "next_attempt_at"),
            *("delivered_at", "read_at", "failed_at"),
        ),
    ),
    "engagement_job_runs": ("job_run", ("now", "started_at", "last_seen_at", "finished_at")),
    "engagement_sending_channels": (
        "channel",
        ("paused_until", "next_slot_at", "slowed_until", "resumed_at", "updated_at"),
    ),
}
RANGES: Final = {
    f"{prefix}_{column}_in_range": (table, column)
    for table, (prefix, columns) in TIMES.items()
    for column in columns
}
"""The constraint of each column with a time."""


def rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall())


def insert(table: str, **values: Any) -> dict[str, Any]:
    """Insert a row with only these columns; return the whole row."""
    with connection.cursor() as cursor:
        columns, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        what = f"({columns}) VALUES ({marks})" if values else "DEFAULT VALUES"
        cursor.execute(f"INSERT INTO {table} {what} RETURNING *", [*values.values()])
        return dict(
            zip([column.name for column in cursor.description or ()], *cursor.fetchall(), strict=True)
        )


def insert_needed(table: str, **values: Any) -> dict[str, Any]:
    """Insert a row with the required columns and `values`, after its user; return the whole row."""
    if table not in {"user_profiles", "engagement_job_runs", "engagement_sending_channels"}:
        insert("user_profiles", user_id=USER)
    return insert(table, **{**NEEDED[table], **values})


def statement_time() -> Any:
    """Return the time at which PostgreSQL started the current statement."""
    return rows("SELECT statement_timestamp()")[0][0]


@pytest.mark.parametrize("table", TABLES)
def test_table_has_exactly_these_columns(table: str) -> None:
    found = rows(
        "SELECT column_name || ' ' || data_type || CASE is_nullable WHEN 'YES' THEN ' null' ELSE '' END"
        " FROM information_schema.columns WHERE table_schema = current_schema AND table_name = %s",
        table,
    )
    assert {column for (column,) in found} == COLUMNS[table]


@pytest.mark.parametrize("table", TABLES)
def test_table_has_exactly_these_indexes(table: str) -> None:
    found = rows("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", table)
    assert {
        name: definition.partition("INDEX")[0].removeprefix("CREATE ") + definition.partition("btree ")[2]
        for name, definition in found
    } == INDEXES[table]


def test_queue_has_one_unique_constraint_beside_its_primary_key() -> None:
    found = rows(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'engagement_message_queue'::regclass AND contype IN ('u', 'x')"
    )
    assert found == [("message_idempotency_key_unique", "UNIQUE (idempotency_key)")]


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_profile_without_any_value_has_every_default() -> None:
    before = statement_time()
    row = insert("user_profiles")
    assert row.pop("user_id").version == 4
    assert before <= row.pop("created_at") == row.pop("updated_at") <= statement_time()
    assert row == {
        "whatsapp_jid": None,
        "preferred_destination": "individual",
        "locale": "pt-BR",
        "reengagement_opt_out": False,
        "opt_out_changed_at": None,
        "opt_out_source": None,
        "time_zone": None,
    }


def test_profile_needs_only_a_user_id() -> None:
    assert insert("user_profiles", user_id=USER)["user_id"] == UUID(USER)


def test_state_needs_only_a_user_id() -> None:
    before = statement_time()
    row = insert_needed("user_engagement_states")
    assert row.pop("id").version == 4
    assert before <= row.pop("last_activity_at") == row.pop("created_at") == row.pop("updated_at")
    assert row == {
        "user_id": UUID(USER),
        "state": "active",
        "goodbye_sent_at": None,
        "goodbye_expires_at": None,
        "remind_at": None,
    }


def test_transition_needs_only_user_states_and_trigger() -> None:
    before = statement_time()
    row = insert_needed("engagement_state_transitions")
    assert row.pop("id").version == 4
    assert before <= row.pop("created_at") <= statement_time()
    assert row == {**TRANSITION, "user_id": UUID(USER), "metadata": "{}"}


DELIVERY: Final = (
    *("attempt_id", "claimed_at", "claim_expires_at", "next_attempt_at", "backend", "provider_message_id"),
    *("delivered_at", "read_at", "failed_at", "error_code", "outcome_reason", "lease_request_id"),
)
"""Columns that only the sender writes."""


def test_message_needs_only_content_destination_and_key() -> None:
    before = statement_time()
    row = insert_needed("engagement_message_queue")
    assert row.pop("id").version == 4
    assert before <= row.pop("scheduled_for") == row.pop("created_at") <= statement_time()
    assert row == {
        **MESSAGE,
        "user_id": UUID(USER),
        "message_params": "{}",
        "sent_at": None,
        "status": "pending",
        "retry_count": 0,
        "error_message": None,
        **dict.fromkeys(DELIVERY),
    }


def test_run_without_any_value_has_every_default() -> None:
    before = statement_time()
    row = insert("engagement_job_runs")
    assert row.pop("job_id").version == 4
    assert before <= row.pop("started_at") == row.pop("last_seen_at") == row.pop("now")
    assert row == {
        "status": "running",
        "finished_at": None,
        **dict.fromkeys(("processed", "succeeded", "failed", "skipped"), 0),
        **dict.fromkeys(("skipped_by_reason", "checks", "options"), "{}"),
        "errors": "[]",
        "failure": None,
        "still_due": None,
        "pid": None,
        **dict.fromkeys(("host", "version"), ""),
    }


def test_user_has_one_state() -> None:
    insert_needed("user_engagement_states")
    with pytest.raises(IntegrityError, match="user_engagement_states_user_id_key"):
        insert("user_engagement_states", user_id=USER)


def test_state_needs_a_profile() -> None:
    insert("user_engagement_states", user_id=USER)
    with pytest.raises(IntegrityError, match="violates foreign key constraint"), transaction.atomic():
        execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute("DELETE FROM user_engagement_states")  # or the check at the end of the test fails


@pytest.mark.parametrize(("table", "values"), ALLOWED)
def test_constraints_accept(table: str, values: dict[str, Any]) -> None:
    row = insert_needed(table, **values)
    assert {column: row[column] for column in values} == values


@pytest.mark.parametrize(("constraint", "table", "values"), REFUSED)
def test_constraint_refuses(constraint: str, table: str, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=f'check constraint "{constraint}"'):
        insert_needed(table, **values)


@pytest.mark.parametrize("value", ["infinity", "-infinity", "1969-12-31 23:59:59.999999Z", "3000-01-01Z"])
@pytest.mark.parametrize("constraint", RANGES)
def test_time_out_of_range_is_refused(constraint: str, value: str) -> None:
    table, column = RANGES[constraint]
    finished = {"status": "failed"} if column == "finished_at" else {}
    with pytest.raises(IntegrityError, match=f'check constraint "{constraint}"'):
        insert_needed(table, **finished, **{column: value})


@pytest.mark.parametrize("value", ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("constraint", RANGES)
def test_first_and_last_time_in_range_are_accepted(constraint: str, value: str) -> None:
    table, column = RANGES[constraint]
    finished = {"status": "failed"} if column == "finished_at" else {}
    assert insert_needed(table, **finished, **{column: value})[column] == datetime.fromisoformat(value)


def test_every_check_constraint_is_tested_here() -> None:
    found = rows(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = ANY (%s::regclass[])",
        list(TABLES),
    )
    assert {name for (name,) in found} == {constraint for constraint, _, _ in REFUSED} | {*RANGES}


def test_every_time_has_a_range() -> None:
    times = rows(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_name = ANY (%s::text[]) AND data_type = 'timestamp with time zone'",
        list(TABLES),
    )
    assert sorted(times) == sorted(RANGES.values())


def test_every_check_constraint_is_validated() -> None:
    assert rows("SELECT conname FROM pg_constraint WHERE contype = 'c' AND NOT convalidated") == []


def test_idempotency_key_is_unique_across_users() -> None:
    insert_needed("engagement_message_queue", status="cancelled")
    with pytest.raises(IntegrityError, match="message_idempotency_key_unique"):
        insert("engagement_message_queue", **{**MESSAGE, "user_id": UUID(int=7)})


def test_audit_log_and_messages_outlive_their_user() -> None:
    insert_needed("engagement_state_transitions")
    insert("engagement_message_queue", **MESSAGE)
    execute("DELETE FROM user_profiles")
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert rows("SELECT count(*) FROM engagement_state_transitions, engagement_message_queue") == [(1,)]


def test_ids_from_the_orm_are_version_7_and_ascending() -> None:
    ids = [UserProfile.objects.create().pk for _ in range(100)]
    assert {user_id.version for user_id in ids} == {7}
    assert ids == sorted(ids)


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_each_check_reads_its_own_index_in_order(check: Check) -> None:
    truncate_users()
    due_at = NOW - timedelta(days=15)
    dates = {**DATES, check.due_column: due_at}
    make_users(2000, state=check.state, **{"last_activity_at": due_at, **dates})
    execute("ANALYZE user_engagement_states, user_profiles")
    for position in (None, Position(due_at, UUID(USER))):
        page = next_page(check, now=NOW + TICK, policy=Policy(), after=position, size=100)
        plan = page.explain()
        assert f"using state_{check.state}_idx" in plan
        assert "Sort" not in plan
        # The scan starts where the last page ended; it does not read and filter the rows before.
        assert bool(re.search(f"Index Cond:.*{check.due_column} >= ", plan)) == (position is not None)
