"""docs/sql/adoption_check.sql finds the problems of existing tables, and names the remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
import pytest
from django.db import connection

from engagement.models import Destination, MessageStatus, MessageType
from engagement.states import State, Trigger
from tests.integration.adoption.foreign_database import OWNER, SCRIPTS, TABLES, ForeignDatabase
from tests.integration.adoption.obstacles import (
    CONTENTS,
    OTHER_IDS,
    SHAPES,
    TIMES,
    UNSEEN_BY_MIGRATE,
    USER,
    Obstacle,
)
from tests.running import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import TextChoices

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
            f"{column} has a CHECK, own, that does not name all values that the engine writes: {value}"
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
    assert "has a CHECK, own, that does not name all values" in finding.problem


@pytest.mark.parametrize(
    "check",
    ["status <> ''", "length(status) < 20", "retry_count < 9", "status <> 'sent' OR sent_at IS NOT NULL"],
)
def test_check_that_lists_no_values_is_accepted(tables: psycopg.Connection, check: str) -> None:
    tables.execute(f"ALTER TABLE engagement_message_queue ADD CHECK ({check})".encode())
    assert findings(tables) == []


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
        "CREATE POLICY reminded ON user_engagement_states USING (remind_at IS NULL)"
    )
    wrong, *users = findings(tables)
    assert wrong.problem.startswith("user_engagement_states.remind_at is timestamp without time zone")
    used = "user_engagement_states.remind_at, whose type must change, is used by the"
    assert [row.problem for row in users] == [
        f"{used} policy reminded on table user_engagement_states",
        f"{used} view reminders",
    ]


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
