"""The app on existing tables: the job, messages and the loader, with few privileges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.db import connection

from engagement.replay.loading import user_id_of
from engagement.states import State
from tests.acceptance.invariants import Run, assert_invariants
from tests.acceptance.rows import Snapshot, take_snapshot
from tests.acceptance.seeding import seed
from tests.factories import NOW
from tests.integration.adoption.foreign_database import (
    ASSISTANT,
    JOB,
    OPERATOR,
    OWNER,
    SCRIPTS,
    TABLES,
    ForeignDatabase,
)
from tests.project.docs.markdown import DOCS, code_blocks, section

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

COLUMNS: Final = """
    SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = ANY (%s) ORDER BY 1, 2
"""
RULES: Final = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'c' AND conrelid = ANY (%s::text[]::regclass[]) AND convalidated ORDER BY 1
"""
INDEXES: Final = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = ANY (%s) AND indexname !~ '^(pk|uq|idx)_|_pkey$|_user_id_key$'
    ORDER BY 1
"""

CONSTRAINTS: Final = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"

FIRST_RUN: Final = ("run_engagement_daily", "--json", "--now", NOW.isoformat())
KEY_CONSTRAINT: Final = "uq_engagement_message_queue_key"


def settle(database: ForeignDatabase, *, due: int) -> None:
    """Add users of every kind to the tables, and to the foreign program's table of users."""
    with database.connect() as superuser:
        # Without checking foreign keys, because the profiles come before the users.
        superuser.execute("SET session_replication_role = replica")
        seed(superuser, due=due)
        superuser.execute("INSERT INTO accounts.users (id) SELECT user_id FROM user_profiles")


def contents(database: ForeignDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """Return all values of all rows, without the columns that migrations add, which are empty."""
    row = "jsonb_strip_nulls(to_jsonb(row))"
    return {table: database.rows(f"SELECT {row} FROM {table} AS row ORDER BY 1") for table in TABLES}


def without_the_triggers_doing(after: Snapshot, *, before: Snapshot) -> Snapshot:
    """Return `after` with the `updated_at` that the job wrote before the trigger replaced it."""
    states = {
        user_id: row if row == before.states[user_id] else row._replace(updated_at=NOW)
        for user_id, row in after.states.items()
    }
    return after._replace(states=states)


def speak(database: ForeignDatabase, text: str) -> str:
    """Let a user who was sent a goodbye write `text`; return their id."""
    ((user_id,),) = database.rows(
        "SELECT user_id FROM user_engagement_states WHERE state = 'goodbye_sent' ORDER BY user_id LIMIT 1"
    )
    outcome = database.manage("receive_message", str(user_id), text, "--json", role=ASSISTANT)
    assert (outcome.code, outcome.json["novelty"]) == (0, "new"), outcome
    return str(user_id)


@pytest.mark.parametrize("question", [COLUMNS, RULES, INDEXES], ids=["columns", "rules", "indexes"])
@pytest.mark.django_db
def test_adopted_tables_have_what_migrations_make(adopted: ForeignDatabase, question: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(question, [list(TABLES)])
        expected = cursor.fetchall()
    assert expected
    assert adopted.rows(question, list(TABLES)) == expected


def test_adoption_changes_no_row_and_removes_no_constraint(foreign: ForeignDatabase) -> None:
    settle(foreign, due=100)
    before, constraints = contents(foreign), foreign.rows(CONSTRAINTS)
    outcome = foreign.manage("migrate", "--fake-initial", "--verbosity", "0")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert contents(foreign) == before
    assert set(foreign.rows(CONSTRAINTS)) >= set(constraints)


@pytest.mark.usefixtures("adopted_template")  # makes the roles
def test_migrate_without_rights_is_one_sentence(foreign: ForeignDatabase) -> None:
    settle(foreign, due=1)
    outcome = foreign.manage("migrate", "--fake-initial", "--verbosity", "0", role=ASSISTANT)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (1, "", 1)
    assert outcome.err.startswith("manage.py: the database user lacks a privilege (permission denied for ")


def test_rows_that_the_migrations_refuse_are_one_sentence(foreign: ForeignDatabase) -> None:
    settle(foreign, due=10)
    foreign.execute("UPDATE user_engagement_states SET state = 'goodbye_sent', goodbye_sent_at = NULL")
    outcome = foreign.manage("migrate", "--fake-initial", "--verbosity", "0")
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (1, "", 1)
    assert "(check constraint " in outcome.err
    assert outcome.err.endswith("docs/sql/adoption_check.sql lists what to correct, with the SQL for it.\n")


def test_three_tables_of_four_are_not_adopted(foreign: ForeignDatabase) -> None:
    foreign.execute("DROP TABLE engagement_message_queue")
    outcome = foreign.manage_in_a_process("migrate", "--fake-initial", "--verbosity", "0")
    assert outcome.code == 1
    assert 'relation "user_profiles" already exists' in outcome.err
    assert outcome.err.startswith("manage.py: the tables are not as the migrations need them (")
    assert "Traceback" not in outcome.err
    assert foreign.rows("SELECT to_regclass('engagement_message_queue')") == [(None,)]


def test_times_out_of_range_stop_the_migration_until_its_sql_corrects_them(foreign: ForeignDatabase) -> None:
    settle(foreign, due=10)
    count, times = "SELECT count(*)::text FROM user_engagement_states", "ORDER BY remind_at DESC LIMIT 1"
    ((users,),) = foreign.rows(count)
    foreign.execute("UPDATE user_engagement_states SET remind_at = 'infinity', created_at = '-infinity'")
    outcome = foreign.manage("migrate", "--fake-initial", "--verbosity", "0")
    assert outcome.code == 1
    problems = [line.split(" Correct this with: ") for line in outcome.err.strip().splitlines()]
    assert [problem for problem, _ in problems] == [
        f"CommandError: user_engagement_states.remind_at is before 1970 or after 2999 in {users} row(s).",
        f"user_engagement_states.created_at is before 1970 or after 2999 in {users} row(s).",
    ]
    for _, remedy in problems:
        foreign.execute(remedy)
    assert foreign.manage("migrate", "--verbosity", "0").code == 0
    assert foreign.rows(f"SELECT remind_at, created_at FROM user_engagement_states {times}") == [
        (datetime(2999, 12, 31, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC))
    ]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_job_runs_on_an_adopted_database(adopted: ForeignDatabase, workers: str) -> None:
    settle(adopted, due=400)
    with adopted.connect() as onlooker:
        before = take_snapshot(onlooker)
        outcome = adopted.manage_in_a_process(
            *FIRST_RUN, "--batch-size", "50", "--workers", workers, role=JOB
        )
        assert (outcome.code, outcome.json["status"]) == (0, "succeeded"), outcome
        assert outcome.json["succeeded"] == 400
        after = without_the_triggers_doing(take_snapshot(onlooker), before=before)
        assert_invariants(before, after, [Run(NOW, outcome.json)])


def test_job_role_writes_and_reads_the_ledger_behind_policies(adopted: ForeignDatabase) -> None:
    adopted.execute("ALTER TABLE engagement_job_runs ENABLE ROW LEVEL SECURITY")
    settle(adopted, due=10)
    run = adopted.manage_in_a_process(*FIRST_RUN, role=JOB)
    assert "engagement_ledger_not_written" not in run.err
    check = adopted.manage("check_engagement_runs", "--max-age", "3650d", role=JOB)
    assert (check.code, run.json["job_id"] in check.out) == (0, True), check


def test_message_is_received_on_an_adopted_database(adopted: ForeignDatabase) -> None:
    settle(adopted, due=100)
    assert adopted.manage(*FIRST_RUN, role=JOB).code == 0
    user_id = speak(adopted, "oi")
    assert adopted.rows("SELECT state FROM user_engagement_states WHERE user_id = %s", user_id) == [
        (State.ACTIVE,)
    ]


def test_opt_out_is_stored_on_an_adopted_database(adopted: ForeignDatabase) -> None:
    settle(adopted, due=100)
    assert adopted.manage(*FIRST_RUN, role=JOB).code == 0
    user_id = speak(adopted, "parar")
    assert adopted.rows(
        "SELECT reengagement_opt_out, opt_out_changed_at IS NOT NULL FROM user_profiles WHERE user_id = %s",
        user_id,
    ) == [(True, True)]


def test_operator_can_forecast_explain_and_undo_on_an_adopted_database(adopted: ForeignDatabase) -> None:
    settle(adopted, due=100)
    run = adopted.manage(*FIRST_RUN, role=JOB).json
    ((user_id,),) = adopted.rows("SELECT user_id FROM engagement_state_transitions LIMIT 1")
    commands = (["forecast_engagement"], ["explain_engagement", str(user_id)])
    assert [adopted.manage(*command, role=ASSISTANT).code for command in commands] == [0, 0]
    undo = adopted.manage("undo_engagement_run", run["job_id"], "--json", role=ASSISTANT)
    assert (undo.code, undo.json["undone"]) == (0, run["succeeded"]), undo


def test_user_is_erased_though_foreign_keys_refuse_a_random_id(
    adopted: ForeignDatabase, settings: Settings
) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = "a long key of the tests"
    settle(adopted, due=10)
    assert adopted.manage(*FIRST_RUN, role=JOB).code == 0
    ((user_id,),) = adopted.rows(
        "SELECT user_id FROM engagement_message_queue ORDER BY created_at DESC LIMIT 1"
    )
    before = contents(adopted)
    preview = adopted.manage("erase_engagement_user", str(user_id), role=OPERATOR)
    assert "rows of engagement_message_queue and engagement_state_transitions are deleted" in preview.out
    assert contents(adopted) == before
    erased = adopted.manage("erase_engagement_user", str(user_id), "--yes", "--json", role=OPERATOR)
    assert (erased.code, erased.json["profile"], erased.json["messages"]) == (0, 1, 1), erased
    assert str(user_id) not in str(contents(adopted))


def test_preview_of_an_erasure_reports_what_would_refuse_it(
    adopted: ForeignDatabase, settings: Settings
) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = "a long key of the tests"
    settle(adopted, due=10)
    adopted.execute(
        "CREATE TABLE notes (user_id uuid REFERENCES user_profiles DEFERRABLE INITIALLY DEFERRED)"
    )
    adopted.execute("INSERT INTO notes SELECT user_id FROM user_profiles")
    ((user_id,),) = adopted.rows("SELECT user_id FROM notes LIMIT 1")
    preview = adopted.manage("erase_engagement_user", str(user_id), role=OPERATOR)
    assert (preview.code, "The database refused this" in preview.err) == (1, True), preview


def test_loader_refuses_users_unknown_to_the_assistant(adopted: ForeignDatabase, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,occurred_at\nana,2026-03-01T06:00:00Z\n")
    outcome = adopted.manage("load_activity_log", str(log), role=ASSISTANT)
    assert outcome.code == 1
    assert outcome.err.startswith("CommandError: The database refused this: insert or update on table")
    assert '"fk_user_profiles_users"' in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert adopted.rows("SELECT count(*) FROM user_profiles") == [(0,)]


def test_loader_adds_users_known_to_the_assistant(adopted: ForeignDatabase, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,occurred_at\nana,2026-03-01T06:00:00Z\n")
    adopted.execute(f"INSERT INTO accounts.users (id) VALUES ('{user_id_of('ana')}')")
    outcome = adopted.manage("load_activity_log", str(log), role=ASSISTANT)
    assert outcome.code == 0, outcome.err
    assert adopted.rows("SELECT state FROM user_engagement_states") == [(State.ACTIVE,)]


@pytest.mark.parametrize("policies", ["", "FOR SELECT"], ids=["no policy", "a policy to read"])
def test_job_without_policies_moves_no_user(unguarded: ForeignDatabase, policies: str) -> None:
    settle(unguarded, due=10)
    if policies:
        for table in TABLES[:2]:
            unguarded.execute(f"CREATE POLICY reader ON {table} {policies} TO engagement_job USING (true)")
    outcome = unguarded.manage(*FIRST_RUN, role=JOB)
    assert (outcome.code, outcome.json["succeeded"]) == (0, 0)


def test_owner_who_may_not_create_roles_runs_the_scripts_again(adopted: ForeignDatabase) -> None:
    for role in ("job", "assistant", "sender", "operator"):
        adopted.execute((SCRIPTS / f"{role}_role.sql").read_text())
    adopted.execute((SCRIPTS / "row_level_security.sql").read_text())


def test_foreign_unique_key_can_be_dropped_after_migrate(unguarded: ForeignDatabase) -> None:
    unguarded.execute(f"ALTER TABLE engagement_message_queue DROP CONSTRAINT {KEY_CONSTRAINT}")
    keys = unguarded.rows(
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'u' AND conrelid = 'engagement_message_queue'::regclass"
    )
    assert keys == [("message_idempotency_key_unique",)]


def test_adoption_can_be_reversed_and_repeated_after_an_undo(adopted: ForeignDatabase) -> None:
    settle(adopted, due=100)
    run = adopted.manage(*FIRST_RUN, role=JOB).json
    assert adopted.manage("undo_engagement_run", run["job_id"], role=ASSISTANT).code == 0
    for target in ("0001", "0002", ""):
        outcome = adopted.manage("migrate", "engagement", *filter(None, [target]), "--verbosity", "0")
        assert (outcome.code, outcome.err) == (0, ""), target
    moves_back = "SELECT count(*) FROM engagement_state_transitions WHERE trigger = 'run_undone'"
    assert adopted.rows(moves_back) == [(run["succeeded"],)]


def test_adoption_can_be_reversed(foreign: ForeignDatabase) -> None:
    settle(foreign, due=100)
    columns = foreign.rows(COLUMNS, list(TABLES))
    before = contents(foreign)
    assert foreign.manage("migrate", "--fake-initial", "--verbosity", "0").code == 0
    assert foreign.rows(COLUMNS, list(TABLES)) != columns
    outcome = foreign.manage("migrate", "engagement", "0001", "--verbosity", "0")
    assert (outcome.code, outcome.err) == (0, "")
    assert contents(foreign) == before
    assert foreign.rows(COLUMNS, list(TABLES)) == columns
    assert foreign.rows(RULES, list(TABLES)) == []


def test_way_back_and_forth_by_the_guide_keeps_what_it_says(unguarded: ForeignDatabase) -> None:
    settle(unguarded, due=4)
    assert unguarded.manage(*FIRST_RUN, role=OWNER).code == 0
    unguarded.execute(f"ALTER TABLE engagement_message_queue DROP CONSTRAINT {KEY_CONSTRAINT}")
    unguarded.execute((SCRIPTS / "functions.sql").read_text())
    unguarded.execute("INSERT INTO engagement_suppressed_addresses (digest) VALUES ('digest')")
    unguarded.execute("UPDATE engagement_state_transitions SET trigger = 'run_undone'")
    unguarded.execute("UPDATE engagement_message_queue SET message_type = 'reply', status = 'unknown'")
    *before, way_back, replies, restoration = code_blocks(section(DOCS / "adopting.md", "Roll back"))
    for statement in before:
        unguarded.execute(statement)
    program, *arguments = way_back.split()
    assert program == "manage.py"
    assert unguarded.manage(*arguments, "--verbosity", "0").code == 0
    keys = unguarded.rows(
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'u' AND conrelid = 'engagement_message_queue'::regclass"
    )
    assert keys == [(KEY_CONSTRAINT,)]
    unguarded.execute(replies)
    outcome = unguarded.manage("migrate", "--verbosity", "0")
    assert (outcome.code, outcome.err) == (0, "")
    unguarded.execute(restoration)
    assert unguarded.rows("SELECT digest FROM engagement_suppressed_addresses") == [("digest",)]
    assert unguarded.rows("SELECT DISTINCT message_type, status FROM former_replies") == [("reply", "failed")]
