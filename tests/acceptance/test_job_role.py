"""A run as a database role with the privileges of docs/sql/job_role.sql and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.roles import is_allowed, role_of
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import count_moves, run_of, run_to_the_end
from tests.acceptance.seeding import seeded
from tests.database import lose_connection_at_first_move

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Size

FORBIDDEN = (
    "DELETE FROM user_profiles",
    "DELETE FROM user_engagement_states",
    "DELETE FROM engagement_state_transitions",
    "DELETE FROM engagement_message_queue",
    "TRUNCATE engagement_message_queue",
    "UPDATE engagement_state_transitions SET metadata = '{}'",
    "UPDATE engagement_message_queue SET destination_jid = ''",
    "UPDATE engagement_message_queue SET message_key = ''",
    "UPDATE engagement_message_queue SET idempotency_key = ''",
    "SELECT destination_jid FROM engagement_message_queue",
    "UPDATE user_profiles SET reengagement_opt_out = false",
    "UPDATE user_profiles SET whatsapp_jid = NULL",
    "UPDATE user_engagement_states SET last_activity_at = now()",
    "UPDATE user_engagement_states SET user_id = gen_random_uuid()",
    "INSERT INTO user_profiles DEFAULT VALUES",
    "INSERT INTO user_engagement_states (user_id) SELECT user_id FROM user_profiles LIMIT 1",
    "SELECT message_params FROM engagement_message_queue",
    "SELECT locale FROM user_profiles",
    "DELETE FROM engagement_job_runs",
    "UPDATE engagement_job_runs SET started_at = now()",
    "SELECT * FROM django_session",
    "SELECT * FROM auth_user",
    "SELECT * FROM django_migrations",
    "DROP TABLE engagement_message_queue",
    "ALTER TABLE engagement_message_queue DROP CONSTRAINT message_idempotency_key_unique",
    "ALTER TABLE engagement_state_transitions DISABLE TRIGGER ALL",
    "CREATE TABLE mine (id integer)",
    "CREATE ROLE another",
    "SET ROLE postgres",
)


@pytest.fixture
def url_of_role(onlooker: psycopg.Connection) -> Iterator[str]:
    with role_of(onlooker, "engagement_job") as url:
        yield url


@pytest.mark.parametrize("workers", [1, 2])
def test_job_runs_with_these_privileges(
    onlooker: psycopg.Connection, url_of_role: str, size: Size, workers: int
) -> None:
    before = seeded(onlooker, due=size.due)
    outcome = run_to_the_end("--workers", str(workers), DATABASE_URL=url_of_role)
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded"), outcome
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_workers_without_a_connection_cost_nothing(
    onlooker: psycopg.Connection, url_of_role: str, size: Size
) -> None:
    before = seeded(onlooker, due=size.due)
    onlooker.execute(f"ALTER ROLE {urlsplit(url_of_role).username} CONNECTION LIMIT 2".encode())
    limit = {"ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "0"}
    outcome = run_to_the_end("--workers", "4", "--batch-size", "10", DATABASE_URL=url_of_role, **limit)
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded"), outcome
    assert outcome.err.count("engagement_workers_missing") == 3
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_privileges_are_enough_to_find_out_whether_a_batch_was_committed(
    onlooker: psycopg.Connection, url_of_role: str
) -> None:
    before = seeded(onlooker, due=100)
    lose_connection_at_first_move()
    onlooker.execute("GRANT USAGE ON SEQUENCE faults TO PUBLIC")
    outcome = run_to_the_end(DATABASE_URL=url_of_role)
    assert "engagement_database_away" in outcome.err
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded"), outcome
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_role_can_do_nothing_else(onlooker: psycopg.Connection, url_of_role: str) -> None:
    before = seeded(onlooker, due=100)
    with psycopg.connect(url_of_role, autocommit=True) as job:
        assert [statement for statement in FORBIDDEN if is_allowed(job, statement)] == []
    assert take_snapshot(onlooker) == before
    assert count_moves(onlooker) == 0
