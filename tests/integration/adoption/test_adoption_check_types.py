"""docs/sql/adoption_check.sql names columns of other types and defaults, and how to change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.adoption.adoption_check import ABOUT_SHAPES, findings
from tests.integration.adoption.foreign_database import TABLES
from tests.integration.adoption.obstacles import OTHER_IDS

if TYPE_CHECKING:
    import psycopg


@pytest.mark.parametrize(
    ("type_name", "value"), [("varchar(36)", "user_id::text"), ("bigint", "right(user_id::text, 4)::bigint")]
)
def test_ids_of_users_are_changed_with_their_foreign_keys(
    tables: psycopg.Connection, type_name: str, value: str
) -> None:
    tables.execute("SET CONSTRAINTS ALL IMMEDIATE")
    tables.execute(OTHER_IDS.format(type=type_name, value=value).encode())
    found = findings(tables, ABOUT_SHAPES)
    ((tie, remedy),) = [(row.problem, row.remedy) for row in found if "foreign key" in row.problem]
    assert (
        tie == "the foreign key fk_profiles of user_engagement_states is on a column whose type must change"
    )
    drop, _, add = remedy.removeprefix("in one transaction: ").split("; ", maxsplit=2)
    types = [
        row.remedy for row in found if " is character varying" in row.problem or " is bigint" in row.problem
    ]
    assert len(types) == len(found) - 1 == len(TABLES)
    for statement in (drop, *types, add.removeprefix("then ")):
        tables.execute(statement.encode())
    assert findings(tables) == []
    assert (
        tables.execute("SELECT FROM user_profiles JOIN user_engagement_states USING (user_id)").rowcount == 1
    )


def test_what_keeps_a_column_from_changing_its_type_is_named(tables: psycopg.Connection) -> None:
    tables.execute(
        "ALTER TABLE user_engagement_states ALTER remind_at TYPE timestamp;"
        "CREATE VIEW reminders AS SELECT id, remind_at FROM user_engagement_states WHERE remind_at < now();"
        "CREATE POLICY reminded ON user_engagement_states USING (remind_at IS NULL);"
        "CREATE FUNCTION next_reminder() RETURNS timestamp LANGUAGE sql"
        " BEGIN ATOMIC SELECT min(remind_at) FROM user_engagement_states; END"
    )
    wrong, *users = findings(tables)
    assert wrong.problem.startswith("user_engagement_states.remind_at is timestamp without time zone")
    used = "user_engagement_states.remind_at, whose type must change, is used by the"
    assert [row.problem for row in users] == [
        f"{used} function next_reminder()",
        f"{used} policy reminded on table user_engagement_states",
        f"{used} view reminders",
    ]


STATUS_AS_ENUMERATION: Final = """
    CREATE TYPE status AS ENUM ('pending', 'sent', 'failed', 'cancelled');
    ALTER TABLE engagement_message_queue ALTER status DROP DEFAULT,
        ALTER status TYPE status USING status::status, ALTER status SET DEFAULT 'pending';
    ALTER TABLE engagement_message_queue ADD CONSTRAINT sent_has_its_time
        CHECK (status <> 'sent' OR sent_at IS NOT NULL);
    ALTER TABLE engagement_message_queue ADD is_done boolean GENERATED ALWAYS AS (status <> 'pending') STORED;
    CREATE INDEX due ON engagement_message_queue (scheduled_for) WHERE status = 'pending';
"""


def test_what_must_be_created_again_for_another_type_is_printed(tables: psycopg.Connection) -> None:
    tables.execute(STATUS_AS_ENUMERATION.encode())
    found = findings(tables, ABOUT_SHAPES)
    (change,) = [row.remedy for row in found if row.problem.endswith(".status is status, not text")]
    used = "engagement_message_queue.status, whose type must change, is used by the"
    users = [row for row in found if row.problem.startswith(used)]
    kinds = [row.problem.removeprefix(used).split()[0] for row in users]
    assert kinds == ["constraint", "generated", "index"]
    assert len(found) == 1 + len(users)
    steps = [
        row.remedy.removeprefix("in one transaction: ").split(" then change the type; then ") for row in users
    ]
    for statement in (*(drop for drop, _ in steps), change, *(create for _, create in steps)):
        tables.execute(statement.encode())
    assert findings(tables) == []


TWO_TYPES_IN_A_CHECK: Final = """
    CREATE TYPE place AS ENUM ('individual', 'group');
    CREATE TYPE place_name AS ENUM ('pt-BR', 'en');
    ALTER TABLE user_profiles ALTER preferred_destination DROP DEFAULT, ALTER locale DROP DEFAULT,
        ALTER preferred_destination TYPE place USING preferred_destination::place,
        ALTER locale TYPE place_name USING locale::place_name,
        ALTER preferred_destination SET DEFAULT 'individual', ALTER locale SET DEFAULT 'pt-BR',
        ADD CONSTRAINT no_english_groups CHECK (preferred_destination <> 'group' OR locale <> 'en');
"""
TWO_TIMES_IN_A_CHECK: Final = """
    ALTER TABLE user_engagement_states ALTER remind_at TYPE timestamp, ALTER goodbye_sent_at TYPE timestamp,
        ADD CONSTRAINT in_order CHECK (remind_at >= goodbye_sent_at);
"""


@pytest.mark.parametrize("change", [TWO_TYPES_IN_A_CHECK, TWO_TIMES_IN_A_CHECK])
def test_check_of_two_columns_whose_types_must_change_is_created_again_once(
    tables: psycopg.Connection, change: str
) -> None:
    tables.execute(change.encode())
    found = findings(tables, ABOUT_SHAPES)
    (user,) = [row for row in found if " are used by the constraint " in row.problem]
    drop, create = user.remedy.removeprefix("in one transaction: ").split(" then change the type; then ")
    changes = [row.remedy for row in found if row != user]
    assert len(changes) == 2
    for statement in (drop, *changes, create):
        tables.execute(statement.encode())
    assert findings(tables) == []


def test_checks_and_indexes_of_a_short_text_need_not_be_created_again(tables: psycopg.Connection) -> None:
    tables.execute(
        "ALTER TABLE engagement_message_queue ALTER status TYPE varchar(20), ADD CHECK (status <> '');"
        "CREATE INDEX due ON engagement_message_queue (scheduled_for) WHERE status = 'pending'"
    )
    (finding,) = findings(tables, ABOUT_SHAPES)
    tables.execute(finding.remedy.encode())
    assert findings(tables) == []


def test_values_are_not_tried_on_a_domain_that_refuses_them(tables: psycopg.Connection) -> None:
    tables.execute(
        "CREATE DOMAIN status AS text CHECK (VALUE IN ('pending', 'sent', 'failed', 'cancelled'));"
        "ALTER TABLE engagement_message_queue ALTER status TYPE status, ADD CHECK (status <> '')"
    )
    found = findings(tables, ABOUT_SHAPES)
    assert "engagement_message_queue.status is status, not text" in [row.problem for row in found]


def test_remedy_for_a_time_without_zone_says_which_zone_it_reads(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE user_engagement_states ALTER COLUMN remind_at TYPE timestamp")
    tables.execute("SET TimeZone = 'America/Bahia'")
    (finding,) = findings(tables)
    assert finding.remedy.endswith(
        "-- if its times are not in UTC, name their zone instead (TimeZone is America/Bahia)"
    )


def test_rows_are_counted_though_a_time_is_text(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE user_engagement_states ALTER COLUMN last_activity_at TYPE text")
    tables.execute("UPDATE user_engagement_states SET last_activity_at = 'infinity'")
    problems = [finding.problem for finding in findings(tables)]
    assert "1 of user_engagement_states: last_activity_at is before 1970 or after 2999" in problems


@pytest.mark.parametrize(
    ("column", "default"),
    [
        ("status", "'pending'::varchar"),
        ("status", "'pending'::varchar::text"),
        ("status", "('pending'::name)"),
        ("retry_count", "'0'"),
        ("retry_count", "0::smallint"),
        ("retry_count", "'0'::bigint"),
    ],
)
def test_right_default_may_have_casts(tables: psycopg.Connection, column: str, default: str) -> None:
    tables.execute(f"ALTER TABLE engagement_message_queue ALTER {column} SET DEFAULT {default}".encode())
    assert findings(tables) == []


def test_virtual_column_cannot_lose_its_expression(tables: psycopg.Connection) -> None:
    if tables.info.server_version < 180000:
        pytest.skip("PostgreSQL has virtual columns since 18")
    tables.execute("ALTER TABLE engagement_message_queue DROP error_message")
    tables.execute(
        "ALTER TABLE engagement_message_queue"
        " ADD error_message text GENERATED ALWAYS AS (lower(message_key)) VIRTUAL"
    )
    (finding,) = findings(tables)
    assert finding.problem == "engagement_message_queue.error_message is generated: lower(message_key)"
    assert finding.remedy.startswith("add an ordinary column")
