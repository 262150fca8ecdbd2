"""Defaults of the database that a role may have: the project sets what it relies on."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from psycopg import sql

from engagement.models import EngagementJobRun, UserEngagementState, UserProfile
from engagement.services.inbound_messages import receive_message
from engagement.services.message_queue import queue_messages
from tests.database import another_connection
from tests.factories import NOW, make_users
from tests.running import run_job
from tests.times import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def database_default(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give the test's database another default of a setting."""
    name, value = request.param
    database = sql.Identifier(connection.settings_dict["NAME"])
    setting = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
    with another_connection() as other:
        other.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, setting, sql.Literal(value)))
        connection.close()
        yield
        other.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(database, setting))
    connection.close()


@pytest.mark.parametrize(
    "database_default",
    [
        ("datestyle", "German, DMY"),
        ("datestyle", "SQL, MDY"),
        ("intervalstyle", "sql_standard"),
        ("timezone", "Asia/Kolkata"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_isolation", "repeatable read"),
        ("bytea_output", "escape"),
        ("standard_conforming_strings", "off"),
    ],
    indirect=True,
    ids=" ".join,
)
@pytest.mark.usefixtures("database_default")
def test_run_and_messages_work_with_any_default() -> None:
    users = make_users(30, "silent")
    result = run_job()
    assert (result.status, result.succeeded) == ("succeeded", 30)
    assert EngagementJobRun.objects.get().status == "succeeded"
    found = receive_message(user_id=users[0].user_id, text="sair", received_at=NOW + DAY, now=NOW + DAY)
    assert found.preference == "opted_out"
    assert UserEngagementState.objects.get(pk=users[0].pk).last_activity_at == NOW + DAY


@pytest.mark.parametrize(
    "database_default",
    [("default_transaction_isolation", "serializable"), ("default_transaction_isolation", "repeatable read")],
    indirect=True,
)
@pytest.mark.usefixtures("database_default")
def test_sixteen_programs_at_once_lose_no_opt_out() -> None:
    users = make_users(8)
    errors: list[BaseException] = []

    def write(text: str) -> None:
        try:
            for number in range(2):
                at = NOW + DAY + timedelta(seconds=number)
                for user in users:
                    receive_message(user_id=user.user_id, text=text, received_at=at, now=at)
        except Exception as error:  # noqa: BLE001  reported below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=["sair" if number % 2 else "oi"]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert UserProfile.objects.filter(reengagement_opt_out=True).count() == 8


@pytest.mark.parametrize(
    "database_default", [("idle_in_transaction_session_timeout", "200ms")], indirect=True
)
@pytest.mark.usefixtures("database_default")
def test_idle_timeout_of_the_role_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall between two statements of the first batch."""
    make_users(30, "silent")
    stalls = [0.5]

    def stall(**options: object) -> object:
        if stalls:
            threading.Event().wait(stalls.pop())
        return queue_messages(**options)  # type: ignore[arg-type]

    monkeypatch.setattr("engagement.services.job.batch.queue_messages", stall)
    result = run_job()
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 30, 0)
