"""The databases that a replay makes, as somebody sees them who is connected to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

TABLES: Final = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)


def databases(onlooker: psycopg.Connection, prefix: str) -> set[str]:
    names = onlooker.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
    return {name for (name,) in names}


def drop(onlooker: psycopg.Connection, names: Iterable[str]) -> None:
    for name in names:
        onlooker.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def rows() -> list[list[Any]]:
    """What stands in the tables to which this test is connected."""
    return [list(table.objects.order_by("pk").values_list()) for table in TABLES]
