"""Times that no rule could compute with are refused, and found before the constraints are added."""

from __future__ import annotations

import re

import pytest
from django.db import IntegrityError, connection, transaction

from engagement.models import UserEngagementState
from tests.database import execute
from tests.factories import make_user
from tests.integration.tables.test_tables import TABLES
from tests.running import run_command

RANGE_OF_STATES = (
    "last_activity_at",
    "goodbye_sent_at",
    "goodbye_expires_at",
    "remind_at",
    "created_at",
    "updated_at",
)
OUTSIDE = ("infinity", "-infinity", "1969-12-31 23:59:59.999999Z", "3000-01-01Z", "0044-03-15 BC")


@pytest.mark.django_db
@pytest.mark.parametrize("column", RANGE_OF_STATES)
@pytest.mark.parametrize("time", OUTSIDE)
def test_time_outside_the_range_is_refused(column: str, time: str) -> None:
    make_user("silent")
    with pytest.raises(IntegrityError, match=f"state_{column}_in_range"), transaction.atomic():
        execute(f"UPDATE user_engagement_states SET {column} = %s::timestamptz", time)


@pytest.mark.django_db
@pytest.mark.parametrize("time", ["1970-01-01Z", "2999-12-31 23:59:59.999999Z"])
def test_first_and_last_time_of_the_range_are_accepted(time: str) -> None:
    make_user("silent")
    execute("UPDATE user_engagement_states SET last_activity_at = %s::timestamptz", time)
    assert UserEngagementState.objects.get().last_activity_at.year in {1970, 2999}


@pytest.mark.django_db
def test_every_timestamp_of_the_tables_has_a_range() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_name = ANY (%s::text[]) AND data_type = 'timestamp with time zone' AND NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = to_regclass(table_name) AND convalidated
                    AND conname LIKE '%%' || column_name || '\\_in\\_range'
            )
            """,
            [list(TABLES)],
        )
        assert cursor.fetchall() == []


@pytest.mark.django_db(transaction=True)
def test_migration_names_the_rows_to_correct_and_the_sql_that_corrects_them() -> None:
    make_user("silent")
    try:
        run_command("migrate", "engagement", "0010", "--verbosity=0")
        execute("UPDATE user_engagement_states SET last_activity_at = '-infinity'")
        refusal = run_command("migrate", "engagement", "--verbosity=0")
        assert (refusal.code, refusal.out) == (1, "")
        assert refusal.err.startswith("1 times lie outside the years 1970 to 2999")
        for statement in re.findall(r"UPDATE [^;]*;", refusal.err):
            execute(statement)
        assert run_command("migrate", "engagement", "--verbosity=0").code == 0
        assert UserEngagementState.objects.get().last_activity_at.year == 1970
    finally:
        execute("UPDATE user_engagement_states SET last_activity_at = now()")
        run_command("migrate", "engagement", "--verbosity=0")
