"""docs/sql/adoption_check.sql finds the problems of existing tables, and names the remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
import pytest
from django.db import connection

from engagement.models import Destination, MessageStatus, MessageType
from engagement.states import State, Trigger
from tests.integration.adoption.adoption_check import (
    ABOUT_SHAPES,
    AFTERWARDS,
    GIVEN,
    WHOLE_SCRIPT,
    all_rows,
    findings,
)
from tests.integration.adoption.foreign_database import OWNER, TABLES, ForeignDatabase, role_name
from tests.integration.adoption.obstacles import CONTENTS, SHAPES, TIMES, UNSEEN_BY_MIGRATE, Obstacle
from tests.running import run_command

if TYPE_CHECKING:
    from django.db.models import TextChoices

TIED: Final = "has a foreign key: erasing a user deletes its rows of that user"

COLUMNS: Final = """
    SELECT attrelid::regclass::text, attname FROM pg_attribute
    WHERE attrelid = ANY (%s::regclass[]) AND attnum > 0 AND NOT attisdropped
"""
NAMES: Final = """
    WITH ours AS (
        SELECT oid, relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname ~ '^(user|engagement)_'
    )
    SELECT relname FROM ours WHERE relname <> ALL (%s)
    UNION SELECT indexrelid::regclass::text FROM pg_index JOIN ours ON oid = indrelid
        WHERE NOT indisprimary AND NOT indexrelid::regclass::text ~ '_user_id_key$'
    UNION SELECT conname FROM pg_constraint JOIN ours ON ours.oid = conrelid
        WHERE contype = 'c' AND relname = ANY (%s)
"""
"""Of tables, indexes and CHECKs of the later migrations. PostgreSQL finds free names for primary keys."""

WRITTEN: Final[dict[str, type[TextChoices]]] = {
    "user_engagement_states.state": State,
    "engagement_state_transitions.from_state": State,
    "engagement_state_transitions.to_state": State,
    "engagement_state_transitions.trigger": Trigger,
    "engagement_message_queue.message_type": MessageType,
    "engagement_message_queue.status": MessageStatus,
    "engagement_message_queue.destination": Destination,
}
"""Columns with a list of values, and all that may be written into them."""


def test_tables_that_can_be_adopted_have_no_findings(tables: psycopg.Connection) -> None:
    assert findings(tables) == []


def test_work_for_after_migrate_is_listed(tables: psycopg.Connection) -> None:
    rows = tables.execute(WHOLE_SCRIPT).fetchall()
    assert [(concerns, problem) for concerns, problem, _ in rows] == [
        (AFTERWARDS, f"engagement_message_queue.user_id {TIED}"),
        (AFTERWARDS, f"engagement_state_transitions.user_id {TIED}"),
        (AFTERWARDS, "row-level security is on for engagement_message_queue"),
        (AFTERWARDS, "row-level security is on for engagement_state_transitions"),
        (AFTERWARDS, "row-level security is on for user_engagement_states"),
        (AFTERWARDS, "row-level security is on for user_profiles"),
        (AFTERWARDS, "the idempotency key will be unique twice: drop uq_engagement_message_queue_key"),
    ]


def test_after_migrate_only_what_is_left_to_do_is_listed(unguarded: ForeignDatabase) -> None:
    unguarded.execute(GIVEN)
    unguarded.execute("UPDATE engagement_message_queue SET message_type = 'reply', status = 'unknown'")
    left = ["afterwards"] * 7
    with unguarded.connect(OWNER) as owner:
        assert [row[0] for row in all_rows(owner)] == ["migrated", *left]
        assert "the idempotency key is unique twice: drop uq_engagement_message_queue_key" in str(
            all_rows(owner)
        )
        owner.execute("ALTER TABLE engagement_message_queue DROP CONSTRAINT uq_engagement_message_queue_key")
        assert "unique twice" not in str(all_rows(owner))
    assert unguarded.manage("migrate", "engagement", "0027", "--verbosity", "0").code == 0
    with unguarded.connect(OWNER) as owner:
        assert all_rows(owner)[0][1].endswith("applied to this database, later ones not")
    assert unguarded.manage("migrate", "engagement", "0001", "--verbosity", "0").code == 0
    with unguarded.connect(OWNER) as owner:
        assert "migrated" not in [row[0] for row in all_rows(owner)]


@pytest.mark.parametrize("obstacle", SHAPES.values(), ids=SHAPES.keys())
def test_remedy_for_a_column_key_or_name_corrects_it(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding[:2] == obstacle[1:]
    tables.execute(finding.remedy.encode())
    assert findings(tables) == []


@pytest.mark.django_db
def test_every_column_and_name_of_later_migrations_is_known() -> None:
    script = WHOLE_SCRIPT.decode()
    columns = [f"('{table}', '{column}'" for table, column in asked(COLUMNS)]
    names = [name for (name,) in asked(NAMES)]
    assert len(names) > 50
    assert [entry for entry in columns if entry not in script] == []
    assert [name for name in names if f"('{name}')" not in script] == []


def asked(query: str) -> list[tuple[str, ...]]:
    """The rows in the database that the migrations made."""
    with connection.cursor() as cursor:
        cursor.execute(query, [list(TABLES)] * query.count("%s"))
        return list(cursor.fetchall())


def test_missing_table_is_named(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE engagement_message_queue RENAME TO queue")
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding[:2] == ("migrate", "engagement_message_queue does not exist")


def test_view_is_not_accepted_as_a_table(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE engagement_message_queue RENAME TO queue")
    tables.execute("CREATE VIEW engagement_message_queue AS SELECT * FROM queue")
    problems = [finding.problem for finding in findings(tables, ABOUT_SHAPES)]
    assert "engagement_message_queue is not an ordinary table (a view, for example)" in problems


def test_partitioned_table_is_not_supported(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE engagement_message_queue RENAME TO queue")
    tables.execute(
        "CREATE TABLE engagement_message_queue (LIKE queue INCLUDING DEFAULTS) PARTITION BY LIST (status)"
    )
    problems = [row.problem for row in findings(tables, ABOUT_SHAPES) if row.concerns == "migrate"]
    assert problems == ["engagement_message_queue is partitioned, which is not supported"]


@pytest.mark.parametrize("column", WRITTEN)
def test_check_of_the_assistant_must_name_each_value(tables: psycopg.Connection, column: str) -> None:
    table, name = column.split(".")
    add = f"ALTER TABLE {table} ADD CONSTRAINT own CHECK ({name} <> '' AND ({{}})) NOT VALID"
    values = WRITTEN[column].values
    tables.execute(add.format(f"{name} IN ({', '.join(map(repr, values))})").encode())
    assert findings(tables, ABOUT_SHAPES) == []
    for value in values:
        others = [other for other in values if other != value]
        tables.execute(f"ALTER TABLE {table} DROP CONSTRAINT own".encode())
        tables.execute(add.format(" OR ".join(f"{name} = '{other}'" for other in others)).encode())
        (finding,) = findings(tables, ABOUT_SHAPES)
        assert finding.concerns == "job"
        assert finding.problem == (
            f"{column} has a CHECK, own, that refuses values that the engine writes: {value}"
        )


@pytest.mark.parametrize(
    "check",
    [
        "status IN ('pending', 'done')",
        "status IN ('pending', 'processing', 'delivered', 'error')",
        "status ~ '^(pending|done)$'",
        "message_type IN ('goodbye')",
        "status = ANY ('{pending,sent,failed,cancelled}'::text[])",
    ],
)
def test_check_of_the_assistant_that_refuses_a_value_is_found(tables: psycopg.Connection, check: str) -> None:
    tables.execute(
        f"ALTER TABLE engagement_message_queue ADD CONSTRAINT own CHECK ({check}) NOT VALID".encode()
    )
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert "has a CHECK, own, that refuses values" in finding.problem


@pytest.mark.parametrize(
    "check",
    [
        "status <> ''",
        "status ~ '^[a-z]+$'",
        "status NOT IN ('done', 'lost')",
        "retry_count < 9",
        "status <> 'sent' OR sent_at IS NOT NULL",
    ],
)
def test_check_that_refuses_no_value_is_accepted(tables: psycopg.Connection, check: str) -> None:
    tables.execute(f"ALTER TABLE engagement_message_queue ADD CHECK ({check})".encode())
    assert findings(tables) == []


@pytest.mark.parametrize(
    "constraint",
    [
        "CHECK (status = ANY ('{pending,sent}') AND retry_count >= 0)",
        "CHECK (status ~ '^(pending|sent)$' AND retry_count >= 0)",
        "FOREIGN KEY (message_type, status) REFERENCES pairs",
    ],
)
def test_constraint_on_several_columns_with_less_than_two_texts_is_not_tried(
    tables: psycopg.Connection, constraint: str
) -> None:
    tables.execute(
        "CREATE TABLE pairs (type text, status text, PRIMARY KEY (type, status));"
        "INSERT INTO pairs VALUES ('goodbye', 'pending')"
    )
    tables.execute(f"ALTER TABLE engagement_message_queue ADD {constraint}".encode())
    assert findings(tables) == []


@pytest.mark.parametrize("column", ["message_key", "idempotency_key"])
def test_remedies_for_a_missing_column_that_needs_values_lead_to_it(
    tables: psycopg.Connection, column: str
) -> None:
    tables.execute(f"ALTER TABLE engagement_message_queue DROP COLUMN {column}".encode())
    (missing,) = findings(tables, ABOUT_SHAPES)
    tables.execute(missing.remedy.encode())
    nullable, empty = findings(tables)
    assert nullable.problem == f"engagement_message_queue.{column} may be NULL"
    assert empty.problem == "1 of engagement_message_queue: NULL in a column that needs a value"
    tables.execute(f"UPDATE engagement_message_queue SET {column} = id".encode())
    tables.execute(nullable.remedy.encode())
    assert findings(tables) == []


def test_column_of_the_primary_key_is_to_have_a_default(tables: psycopg.Connection) -> None:
    tables.execute(
        "ALTER TABLE engagement_message_queue ADD tenant_id int NOT NULL DEFAULT 1, ADD UNIQUE (id),"
        " DROP CONSTRAINT pk_engagement_message_queue, ADD PRIMARY KEY (tenant_id, id);"
        "ALTER TABLE engagement_message_queue ALTER tenant_id DROP DEFAULT"
    )
    (finding,) = findings(tables)
    tables.execute(finding.remedy.partition(": ")[2].replace("...", "1").encode())
    assert findings(tables) == []


def test_table_of_values_in_a_schema_that_may_not_be_used_is_not_read(tables: psycopg.Connection) -> None:
    tables.execute(
        "CREATE SCHEMA other; CREATE TABLE other.places (place text PRIMARY KEY);"
        "INSERT INTO other.places VALUES ('individual');"
        "ALTER TABLE engagement_message_queue ADD FOREIGN KEY (destination) REFERENCES other.places"
    )
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding.problem.endswith("which lacks values that the engine writes: group")
    tables.execute("SET CONSTRAINTS ALL IMMEDIATE")
    tables.execute("REVOKE USAGE ON SCHEMA other FROM CURRENT_USER")
    assert findings(tables, ABOUT_SHAPES) == []


def test_name_in_a_schema_that_migrate_does_not_use_is_free(tables: psycopg.Connection) -> None:
    tables.execute("CREATE SCHEMA other; CREATE TABLE other.engagement_job_runs ()")
    tables.execute("SET LOCAL search_path = public, other")
    assert findings(tables) == []


def test_columns_of_the_assistant_in_profiles_do_not_concern_the_job(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE user_profiles ADD COLUMN tenant_id int NOT NULL DEFAULT 1")
    tables.execute("ALTER TABLE user_profiles ALTER COLUMN tenant_id DROP DEFAULT")
    assert findings(tables) == []


def test_policies_that_hide_rows_from_the_owner_are_named(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE user_profiles FORCE ROW LEVEL SECURITY")
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding.problem.startswith("row-level security hides rows of user_profiles from this user, ")


def test_tables_of_another_owner_are_named(foreign_template: ForeignDatabase) -> None:
    with foreign_template.connect() as connection:
        # A superuser may use the tables of every owner.
        connection.execute("SET SESSION AUTHORIZATION pg_monitor")
        problems = [finding.problem for finding in findings(connection, ABOUT_SHAPES)]
    assert "user_profiles does not belong to this user, pg_monitor" in problems


def test_owner_who_may_not_create_tables_is_named(foreign_template: ForeignDatabase) -> None:
    owner = role_name(OWNER)
    with foreign_template.connect() as superuser, superuser.transaction(force_rollback=True):
        superuser.execute("ALTER SCHEMA public OWNER TO CURRENT_USER")
        superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {owner}".encode())
        (finding,) = findings(superuser)
        assert finding[:2] == ("migrate", f"this user, {owner}, may not create tables in the schema public")
        superuser.execute("SET LOCAL SESSION AUTHORIZATION DEFAULT")
        superuser.execute(finding.remedy.encode())
        superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {owner}".encode())
        assert findings(superuser) == []


@pytest.mark.parametrize("obstacle", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.django_db
def test_rows_that_make_migrate_fail_are_counted(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    (finding,) = findings(tables)
    assert finding[:2] == obstacle[1:]
    migration = run_command("sqlmigrate", "engagement", "0002").out
    with pytest.raises(psycopg.errors.IntegrityError), tables.transaction():
        tables.execute(migration.replace("BEGIN;", "").replace("COMMIT;", "").encode())


@pytest.mark.parametrize("obstacle", UNSEEN_BY_MIGRATE.values(), ids=UNSEEN_BY_MIGRATE.keys())
def test_rows_that_make_the_job_fail_are_counted(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    assert obstacle[1:] in [finding[:2] for finding in findings(tables)]


@pytest.mark.parametrize("value", ["infinity", "-infinity", "1969-12-31 23:59:59Z", "3000-01-01Z"])
@pytest.mark.parametrize("column", TIMES)
def test_remedy_for_a_time_out_of_range_corrects_it(
    tables: psycopg.Connection, column: str, value: str
) -> None:
    table, name = column.split(".")
    # Without the trigger that sets updated_at to the clock.
    tables.execute(
        f"ALTER TABLE {table} DISABLE TRIGGER USER; UPDATE {table} SET {name} = '{value}'".encode()
    )
    (finding,) = findings(tables)
    assert finding[:2] == ("migrate", f"1 of {table}: {name} is before 1970 or after 2999")
    tables.execute(finding.remedy.encode())
    assert findings(tables) == []
    ahead = tables.execute(f"SELECT FROM {table} WHERE {name} > now() + interval '1 hour'".encode()).rowcount
    is_waited_for = name in ("last_activity_at", "goodbye_sent_at", "goodbye_expires_at", "remind_at")
    assert ahead == (value in ("infinity", "3000-01-01Z") and not is_waited_for)


def test_what_an_earlier_adoption_wrote_is_accepted(tables: psycopg.Connection) -> None:
    tables.execute("UPDATE engagement_state_transitions SET trigger = 'run_undone'")
    assert findings(tables) == []
