"""docs/sql/adoption_check.sql finds what stands in the way of adopting tables, and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
import pytest

from tests.integration.adoption.foreign_database import OWNER, SCRIPTS, ForeignDatabase
from tests.integration.adoption.obstacles import CONTENTS, SHAPES, TIMES, UNSEEN_BY_MIGRATE, USER, Obstacle
from tests.running import run_command

if TYPE_CHECKING:
    from collections.abc import Iterator

AFTERWARDS: Final = "afterwards"
"""What concerns the time after `migrate`: the only thing to say of the tables of these tests."""

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
"""The first of its two questions. Where a table or column is missing the second cannot be asked."""


class Finding(NamedTuple):
    """A row of the answer."""

    concerns: str
    problem: str
    remedy: str


@pytest.fixture
def tables(foreign_template: ForeignDatabase) -> Iterator[psycopg.Connection]:
    """The tables' owner, in a transaction that is taken back. There is a row in every table."""
    with foreign_template.connect(OWNER) as owner:
        owner.autocommit = False
        owner.execute(GIVEN.encode())
        yield owner
        owner.rollback()


def findings(tables: psycopg.Connection, script: bytes | None = None) -> list[Finding]:
    """What the script says, but for what is to be done afterwards."""
    cursor = tables.execute(script or WHOLE_SCRIPT)
    found = [Finding(*row) for row in cursor.fetchall()]
    while cursor.nextset():
        found += [Finding(*row) for row in cursor.fetchall()]
    return [finding for finding in found if finding.concerns != AFTERWARDS]


def test_nothing_is_said_of_tables_that_can_be_adopted(tables: psycopg.Connection) -> None:
    assert findings(tables) == []


def test_what_is_to_be_done_afterwards_is_said(tables: psycopg.Connection) -> None:
    rows = tables.execute(WHOLE_SCRIPT).fetchall()
    assert [(concerns, problem) for concerns, problem, _ in rows] == [
        (AFTERWARDS, "row-level security is on for engagement_message_queue"),
        (AFTERWARDS, "row-level security is on for engagement_state_transitions"),
        (AFTERWARDS, "row-level security is on for user_engagement_states"),
        (AFTERWARDS, "row-level security is on for user_profiles"),
        (
            AFTERWARDS,
            "the idempotency key will be unique twice, for uq_engagement_message_queue_key is there too",
        ),
    ]


@pytest.mark.parametrize("obstacle", SHAPES.values(), ids=SHAPES.keys())
def test_remedy_for_a_wrong_shape_puts_it_right(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding[:2] == obstacle[1:]
    tables.execute(finding.remedy.encode())
    assert findings(tables) == []


def test_missing_table_is_named(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE engagement_message_queue RENAME TO queue")
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding[:2] == ("migrate", "engagement_message_queue does not exist")


def test_view_is_no_table(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE engagement_message_queue RENAME TO queue")
    tables.execute("CREATE VIEW engagement_message_queue AS SELECT * FROM queue")
    problems = [finding.problem for finding in findings(tables, ABOUT_SHAPES)]
    assert "engagement_message_queue is a view, or otherwise no ordinary table" in problems


def test_owner_from_whom_policies_hide_rows_is_told_so(tables: psycopg.Connection) -> None:
    tables.execute("ALTER TABLE user_profiles FORCE ROW LEVEL SECURITY")
    (finding,) = findings(tables, ABOUT_SHAPES)
    assert finding.problem.startswith("row-level security hides rows of user_profiles from this user, ")


def test_whoever_does_not_own_the_tables_is_told_so(foreign_template: ForeignDatabase) -> None:
    with foreign_template.connect() as somebody:
        # A superuser would be let through.
        somebody.execute("SET SESSION AUTHORIZATION pg_monitor")
        problems = [finding.problem for finding in findings(somebody, ABOUT_SHAPES)]
    assert "user_profiles does not belong to this user, pg_monitor" in problems


@pytest.mark.parametrize("obstacle", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.django_db
def test_rows_at_which_migrate_would_fail_are_counted(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    (finding,) = findings(tables)
    assert finding[:2] == obstacle[1:]
    migration = run_command("sqlmigrate", "engagement", "0002").out
    with pytest.raises(psycopg.errors.IntegrityError), tables.transaction():
        tables.execute(migration.replace("BEGIN;", "").replace("COMMIT;", "").encode())


@pytest.mark.parametrize("obstacle", TIMES.values(), ids=TIMES.keys())
def test_times_that_migrate_would_refuse_are_counted(tables: psycopg.Connection, obstacle: Obstacle) -> None:
    tables.execute(obstacle.change.encode())
    (finding,) = findings(tables)
    assert finding[:2] == obstacle[1:]


@pytest.mark.parametrize("obstacle", UNSEEN_BY_MIGRATE.values(), ids=UNSEEN_BY_MIGRATE.keys())
def test_rows_with_which_the_job_would_go_wrong_are_counted(
    tables: psycopg.Connection, obstacle: Obstacle
) -> None:
    tables.execute(obstacle.change.encode())
    assert obstacle[1:] in [finding[:2] for finding in findings(tables)]


def test_moves_back_of_an_adoption_that_was_taken_back_are_nothing_to_put_right(
    tables: psycopg.Connection,
) -> None:
    tables.execute("UPDATE engagement_state_transitions SET trigger = 'run_undone'")
    assert findings(tables) == []
