"""A database with tables that another program created, and with roles of its own."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from tests.database import another_connection
from tests.running import PROJECT, Outcome, connected_to, database_url, run_main, run_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.abc import Query

FOREIGN_TABLES: Final = Path(__file__).with_name("foreign_tables.sql")
SCRIPTS: Final = PROJECT / "docs" / "sql"
TABLES: Final = (
    "user_profiles",
    "user_engagement_states",
    "engagement_state_transitions",
    "engagement_message_queue",
)
PASSWORD: Final = "for-this-test"  # noqa: S105

OWNER: Final = "engagement_owner"
JOB: Final = "engagement_job"
ASSISTANT: Final = "engagement_assistant"
SENDER: Final = "engagement_sender"
OPERATOR: Final = "engagement_operator"


def role_name(role: str) -> str:
    """Return a unique name for `role`, because roles belong to the whole server."""
    return f"{role}_test_{os.getpid()}"


@dataclass(frozen=True, slots=True)
class ForeignDatabase:
    """The database `name` on the server of the tests. Its owner, OWNER, is not a superuser."""

    name: str

    def url(self, role: str | None = None) -> str:
        """Return the URL for `role`, or for the superuser of the tests."""
        user, address = database_url().split("@", maxsplit=1)
        _, _, parameters = address.partition("?")
        login = f"postgresql://{role_name(role)}:{PASSWORD}" if role else user
        return f"{login}@/{self.name}?{parameters}"

    def connect(self, role: str | None = None) -> psycopg.Connection:
        return psycopg.connect(self.url(role), autocommit=True)

    def execute(self, statements: str) -> None:
        """Execute `statements` as OWNER."""
        with self.connect(OWNER) as connection:
            connection.execute(_in_own_names(statements))

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def run_script(self, name: str) -> None:
        """Run a script of docs/sql as a superuser, who may create roles."""
        with self.connect() as connection:
            connection.execute(_in_own_names((SCRIPTS / name).read_text()))

    def manage(self, *arguments: str, role: str = OWNER) -> Outcome:
        """Run `manage.py` on this database."""
        with connected_to(self.url(role)):
            return run_main(*arguments)

    def manage_in_a_process(self, *arguments: str, role: str = OWNER) -> Outcome:
        return run_process(*arguments, DATABASE_URL=self.url(role))


def create_owner() -> None:
    with another_connection() as superuser:
        _create_login(superuser, OWNER)


def create(name: str, *, like: str = "template0") -> ForeignDatabase:
    with another_connection() as superuser:
        for statement in (
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            "CREATE DATABASE {} OWNER {} TEMPLATE {}",
        ):
            names = (sql.Identifier(name), sql.Identifier(role_name(OWNER)), sql.Identifier(like))
            superuser.execute(sql.SQL(statement).format(*names))
    return ForeignDatabase(name)


def let_in(*roles: str) -> None:
    """Set a password for roles that a script created."""
    with another_connection() as superuser:
        for role in roles:
            superuser.execute(_with_password("ALTER ROLE {} PASSWORD {}", role))


def drop(*names: str) -> None:
    with another_connection() as superuser:
        for name in names:
            superuser.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_roles(roles: Sequence[str]) -> None:
    """Drop roles. Drop the databases that use them first."""
    with another_connection() as superuser:
        for role in roles:
            superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role_name(role))))


def _create_login(superuser: psycopg.Connection, role: str) -> None:
    superuser.execute(_with_password("CREATE ROLE {} LOGIN PASSWORD {}", role))


def _with_password(statement: str, role: str) -> Query:
    return sql.SQL(statement).format(sql.Identifier(role_name(role)), sql.Literal(PASSWORD))


def _in_own_names(statements: str) -> bytes:
    return re.sub(
        rf"\b({JOB}|{ASSISTANT}|{SENDER}|{OPERATOR})\b", lambda role: role_name(role[0]), statements
    ).encode()
