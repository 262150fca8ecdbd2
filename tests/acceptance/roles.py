"""Database roles with the privileges of a script of docs/sql and no others."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD: Final = "for-this-test"  # noqa: S105


@contextmanager
def role_of(owner: psycopg.Connection, name: str) -> Iterator[str]:
    """The role that `{name}_role.sql` makes, under another name; yields its URL."""
    script = PROJECT / "docs" / "sql" / f"{name.removeprefix('engagement_')}_role.sql"
    own_name = f"{name}_test_{os.getpid()}"
    role = sql.Identifier(own_name)
    # Before PostgreSQL 15 every role may create tables in the schema public.
    owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    owner.execute(re.sub(rf"\b{name}\b", own_name, script.read_text()).encode())
    owner.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(PASSWORD)))
    _, address = database_url().split("@", maxsplit=1)
    try:
        yield f"postgresql://{own_name}:{PASSWORD}@{address}"
    finally:
        owner.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))


def is_allowed(connection: psycopg.Connection, statement: str) -> bool:
    """Whether the role may execute the statement, which is then done."""
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
