"""docs/sql/adoption_check.sql finds the problems of existing tables, and names the remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
import pytest
from django.db import connection

from tests.integration.adoption.foreign_database import OWNER, SCRIPTS, TABLES, ForeignDatabase
from tests.integration.adoption.obstacles import (
    CONTENTS,
    SHAPES,
    TIMES,
    UNSEEN_BY_MIGRATE,
    USER,
    Obstacle,
)
from tests.running import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

AFTERWARDS: Final = "afterwards"
"""Work for after `migrate`: the only findings for the unchanged tables of these tests."""

TIED: Final = "has a foreign key: erasing a user deletes its rows of that user"

GIVEN: Final = f"""
    INSERT INTO accounts.users (id) VALUES ('{USER}');
    INSERT INTO user_profiles (user_id) VALUES ('{USER}');
    INSERT INTO user_engagement_states (user_id) VALUES ('{USER}');
    INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger)
        VALUES ('{USER}', 'active', 'goodbye_sent', 'inactivity_14d');
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
        VALUES ('{USER}', 'goodbye', 'engagement.goodbye.self_select', 'individual', '9@g.us', 'key');
"""

WHOLE_SCRIPT: Final = (SCRIPTS / "adoption_check.sql").read_bytes()
ABOUT_SHAPES: Final = WHOLE_SCRIPT.partition(b";\n\nSELECT")[0]
"""The first of its two queries. The second fails if a table or column is missing."""


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


class Finding(NamedTuple):
    """One row of the result."""

    concerns: str
    problem: str
    remedy: str


@pytest.fixture
def tables(foreign_template: ForeignDatabase) -> Iterator[psycopg.Connection]:
    """A connection as the tables' owner, in a transaction that is rolled back. Every table has one row."""
    with foreign_template.connect(OWNER) as owner:
        owner.autocommit = False
        owner.execute(GIVEN.encode())
        yield owner
        owner.rollback()


def all_rows(tables: psycopg.Connection, script: bytes = WHOLE_SCRIPT) -> list[Finding]:
    """Return all findings of the script."""
    cursor = tables.execute(script)
    found = [Finding(*row) for row in cursor.fetchall()]
    while cursor.nextset():
        found += [Finding(*row) for row in cursor.fetchall()]
    return found


def findings(tables: psycopg.Connection, script: bytes = WHOLE_SCRIPT) -> list[Finding]:
    """Return the findings of the script, without those for after `migrate`."""
    return [finding for finding in all_rows(tables, script) if finding.concerns != AFTERWARDS]


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


def test_transitions_of_an_earlier_undo_are_accepted(tables: psycopg.Connection) -> None:
    tables.execute("UPDATE engagement_state_transitions SET trigger = 'run_undone'")
    assert findings(tables) == []
