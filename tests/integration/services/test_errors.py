"""Whose fault an error is, asked with errors that PostgreSQL itself raised."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)

from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable, sqlstate_of
from tests.database import another_connection, execute
from tests.factories import make_user, make_users

if TYPE_CHECKING:
    from collections.abc import Callable

JID: Final = "5511999990042@s.whatsapp.net"

SQLSTATES: Final = {
    ErrorKind.CONFLICT: ("40001", "40P01", "55P03", "57014"),
    ErrorKind.OUTAGE: (
        "08000",
        "08003",
        "08006",
        "08P01",
        "25006",
        "28000",
        "28P01",
        "3D000",
        "53000",
        "53100",
        "53200",
        "53300",
        "57P01",
        "57P02",
        "57P03",
        "58000",
        "58030",
    ),
    ErrorKind.CONFIGURATION: ("42501", "42601", "42703", "42P01", "42883"),
    ErrorKind.DATA: (
        "22001",
        "22003",
        "22P02",
        "23502",
        "23503",
        "23505",
        "23514",
        "P0001",
        "XX000",
        "55000",
    ),
}


def error_of(provoke: Callable[[], object]) -> DatabaseError:
    """The error that escapes from a transaction in which this happens."""
    with pytest.raises(DatabaseError) as raised, transaction.atomic():
        provoke()
    return raised.value


def raised_by(sql: str, *parameters: Any) -> DatabaseError:
    return error_of(lambda: execute(sql, *parameters))


def raised_with(sqlstate: str) -> DatabaseError:
    return raised_by(f"DO $$ BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = '{sqlstate}'; END $$")


def classified(error: DatabaseError) -> tuple[ErrorKind, str | None]:
    return error_kind(error), sqlstate_of(error)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fault", "sqlstate"), [(fault, sqlstate) for fault, states in SQLSTATES.items() for sqlstate in states]
)
def test_sqlstate_says_whose_fault_it_is(fault: ErrorKind, sqlstate: str) -> None:
    error = raised_with(sqlstate)
    assert classified(error) == (fault, sqlstate)
    assert describe(error) == f"provoked (SQLSTATE {sqlstate})"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "fault", "sqlstate"),
    [
        ("SELECT * FROM no_such_table", ErrorKind.CONFIGURATION, "42P01"),
        ("SELECT no_such_column FROM user_profiles", ErrorKind.CONFIGURATION, "42703"),
        ("SELEC 1", ErrorKind.CONFIGURATION, "42601"),
        (
            "CREATE ROLE nobody_at_all; SET LOCAL ROLE nobody_at_all; TABLE user_profiles",
            ErrorKind.CONFIGURATION,
            "42501",
        ),
        ("INSERT INTO user_profiles (preferred_destination) VALUES ('x')", ErrorKind.DATA, "23514"),
        ("SELECT 1 / 0", ErrorKind.DATA, "22012"),
        ("SELECT 'x'::uuid", ErrorKind.DATA, "22P02"),
        ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$", ErrorKind.DATA, "P0001"),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)", ErrorKind.CONFLICT, "57014"),
        ("SET TRANSACTION READ ONLY; DELETE FROM user_profiles", ErrorKind.OUTAGE, "25006"),
    ],
)
def test_real_error_is_classified(sql: str, fault: ErrorKind, sqlstate: str) -> None:
    assert classified(raised_by(sql)) == (fault, sqlstate)


@pytest.mark.django_db
def test_error_of_the_program_itself_is_the_users_fault() -> None:
    assert error_kind(ValueError("year 0 is out of range")) is ErrorKind.DATA


@pytest.mark.django_db(transaction=True)
def test_lock_timeout_is_concurrency() -> None:
    user = make_user()
    with another_connection(autocommit=False) as other:
        other.execute("SELECT FROM user_engagement_states WHERE user_id = %s FOR UPDATE", [user.user_id])
        error = raised_by("SET LOCAL lock_timeout = 1; UPDATE user_engagement_states SET state = 'dormant'")
        other.rollback()
    assert classified(error) == (ErrorKind.CONFLICT, "55P03")


@pytest.mark.django_db(transaction=True)
def test_serialization_failure_is_concurrency() -> None:
    make_user()

    def change_what_another_program_changed() -> None:
        execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; TABLE user_engagement_states")
        with another_connection() as other:
            other.execute("UPDATE user_engagement_states SET state = 'dormant'")
        execute("UPDATE user_engagement_states SET state = 'help_flow'")

    assert classified(error_of(change_what_another_program_changed)) == (ErrorKind.CONFLICT, "40001")


@pytest.mark.django_db(transaction=True)
def test_deadlock_is_concurrency() -> None:
    ids = [user.user_id for user in make_users(2)]
    both_hold_one = threading.Barrier(2, timeout=30)
    errors: list[DatabaseError] = []
    lock = "SELECT FROM user_engagement_states WHERE user_id = %s FOR UPDATE"

    def lock_both(first: object, second: object) -> None:
        try:
            with transaction.atomic():
                execute("SET LOCAL deadlock_timeout = '10ms'")
                execute(lock, first)
                both_hold_one.wait()
                execute(lock, second)
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=lock_both, args=order) for order in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [classified(error) for error in errors] == [(ErrorKind.CONFLICT, "40P01")]


@pytest.mark.django_db(transaction=True)
def test_session_ended_by_the_server_is_an_outage() -> None:
    error = raised_by("SELECT pg_terminate_backend(pg_backend_pid())")
    assert error_kind(error) is ErrorKind.OUTAGE
    assert "\n" not in describe(error)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_connection_found_dead_is_an_outage() -> None:
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    with another_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    error = raised_by("SELECT 1")
    assert error_kind(error) is ErrorKind.OUTAGE
    assert "\n" not in describe(error)
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_use_of_a_closed_connection_is_an_outage() -> None:
    connection.ensure_connection()
    connection.connection.close()
    assert error_kind(raised_by("SELECT 1")) is ErrorKind.OUTAGE
    connection.close()


def test_server_that_is_not_there_is_an_outage(tmp_path: object) -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(host=str(tmp_path), dbname="engagement", user="nobody")
    error = OperationalError(str(refused.value))
    error.__cause__ = refused.value
    assert error_kind(error) is ErrorKind.OUTAGE
    assert "\n" not in describe(error)


def test_error_without_a_code_is_an_outage_only_where_the_connection_is_to_blame() -> None:
    assert error_kind(OperationalError("gone")) is error_kind(InterfaceError("closed")) is ErrorKind.OUTAGE
    assert error_kind(DatabaseError("what?")) is ErrorKind.DATA


@pytest.mark.django_db
def test_connection_option_that_does_not_exist_is_a_mistake_in_the_setup() -> None:
    another = connection.copy()
    another.settings_dict["OPTIONS"]["no_such_option"] = "1"
    with pytest.raises(ProgrammingError) as refused:
        another.ensure_connection()
    assert error_kind(refused.value) is ErrorKind.CONFIGURATION


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("sslmode", "foo"),
        ("target_session_attrs", "foo"),
        ("ssl_min_protocol_version", "foo"),
        ("port", "99999"),
    ],
)
def test_connection_option_with_a_wrong_value_is_a_mistake_in_the_setup(option: str, value: str) -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(f"host=127.0.0.1 {option}={value}")
    error = OperationalError(str(refused.value))
    error.__cause__ = refused.value
    assert error_kind(error) is ErrorKind.CONFIGURATION


@pytest.mark.django_db
def test_description_leaves_out_the_row_that_was_refused() -> None:
    sql = "INSERT INTO user_profiles (whatsapp_jid, locale, preferred_destination) VALUES (%s, 'secret', 'x')"
    error = raised_by(sql, JID)
    assert JID in str(error)
    assert describe(error) == (
        'new row for relation "user_profiles" violates check constraint'
        ' "user_profiles_destination_known" (SQLSTATE 23514)'
    )


@pytest.mark.django_db
def test_description_leaves_out_the_key_that_was_taken() -> None:
    sql = "INSERT INTO user_profiles (user_id) SELECT '00000000-0000-4000-8000-000000000001' FROM"
    error = raised_by(f"{sql} generate_series(1, 2)")
    assert describe(error) == (
        'duplicate key value violates unique constraint "user_profiles_pkey" (SQLSTATE 23505)'
    )


@pytest.mark.django_db
def test_description_leaves_out_the_text_that_is_no_value() -> None:
    error = raised_by("SELECT 'my father died'::integer")
    assert describe(error) == "invalid input syntax for type integer: [value] (SQLSTATE 22P02)"


@pytest.mark.django_db
def test_description_is_redacted() -> None:
    error = raised_by(f"DO $$ BEGIN RAISE EXCEPTION 'no % or +55 11 99999-0042', '{JID}'; END $$")
    assert describe(error) == "no [address] or [number] (SQLSTATE P0001)"


def test_description_of_another_error_names_its_kind_in_one_line() -> None:
    assert describe(ValueError(f"{JID}\nDETAIL: more")) == "ValueError: [address]"


def test_what_the_database_said_is_not_logged_and_a_mistake_in_the_code_is() -> None:
    mistake = ZeroDivisionError("division by zero")
    assert loggable(DatabaseError("a row")) is None
    assert loggable(mistake) is mistake
