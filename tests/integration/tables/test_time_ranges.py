"""Times with which no rule could compute are refused."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from engagement.models import UserEngagementState
from tests.database import execute
from tests.factories import make_user
from tests.integration.tables.test_tables import TABLES

OUTSIDE = ("infinity", "-infinity", "1969-12-31 23:59:59.999999Z", "3000-01-01Z", "0044-03-15 BC")


@pytest.mark.django_db
@pytest.mark.parametrize("time", OUTSIDE)
def test_time_outside_the_range_is_refused(time: str) -> None:
    make_user("silent")
    with pytest.raises(IntegrityError, match="state_last_activity_at_in_range"), transaction.atomic():
        execute("UPDATE user_engagement_states SET last_activity_at = %s::timestamptz", time)


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
