"""Which PostgreSQL the project talks to, and how."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel

POSTGRESQL = "django.db.backends.postgresql"
PRIVATE_POSTGRESQL = "config.private_postgresql"


OPTIONS: Final = {
    # PostgreSQL's log shows the text of a failed statement. Values bound on the server are not part of it.
    # It is also faster: of the time of a batch, Python's part is 6 % shorter.
    "server_side_binding": True,
    # No prepared statements. They save 1 % of a batch of 1,000 users, but PostgreSQL may plan them for any
    # state, and such a plan uses none of the partial indexes: it reads the whole table.
    "prepare_threshold": None,
    # The rules lock rows and then read what others have committed. A role or database may have another
    # default, under which every second message of a user would fail.
    "isolation_level": IsolationLevel.READ_COMMITTED,
}
"""They hold whatever the URL says."""

NOTICE_LOSS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's options, in seconds and milliseconds, unless the URL says otherwise. By default libpq waits for
hours for a server that has vanished."""


def database_settings(*, url: str, name: str = "", behind_pooler: bool, development: bool) -> dict[str, Any]:
    """The entry for Django's DATABASES.

    `url` names a PostgreSQL server; without one, development gets the private server that pip
    installed. `name` replaces the database of either. `behind_pooler` makes Django work with PgBouncer
    and other poolers in transaction mode.
    Raises ImproperlyConfigured, with one sentence, without a server, or with another engine.
    """
    # libpq sends it when it connects, also through a pooler. psycopg reads times in this style only, and a
    # role or database may have another one.
    os.environ["PGDATESTYLE"] = "ISO"
    if url:
        database = _parsed(url)
        database["OPTIONS"] = NOTICE_LOSS | database.get("OPTIONS", {}) | OPTIONS
    elif development:
        database = {
            "ENGINE": PRIVATE_POSTGRESQL,
            "NAME": "postgres",
            "USER": "postgres",
            "OPTIONS": dict(OPTIONS),
        }
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL is not set. Name the PostgreSQL server to use, as in"
            " DATABASE_URL=postgresql://user:password@host:5432/name"
            " (only with DEBUG=on may it be left out)."
        )
    if name:
        database["NAME"] = name
    # The web server keeps its connections; a command ends before their time is over. The private server is
    # for runserver: each connection of a browser has a thread there, which would leave one open.
    database |= {"CONN_MAX_AGE": 60 if url else 0, "CONN_HEALTH_CHECKS": True}
    if behind_pooler:
        # A cursor of the server belongs to one session, and the pooler changes sessions.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
    return database


def _parsed(url: str) -> dict[str, Any]:
    scheme = url.partition("://")[0]
    database: dict[str, Any] = {}
    if environ.Env.DB_SCHEMES.get(scheme) == POSTGRESQL:
        with suppress(ValueError):  # a port that is no number, say
            database = dict(environ.Env.db_url_config(url))
            # libpq's own form for a socket: postgresql://user@%2Fvar%2Frun%2Fpostgresql/name
            host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
            if host.lower().startswith("%2f"):
                database["HOST"] = unquote(host.partition(":")[0])
    if not database.get("NAME"):
        # The URL is not repeated here: it holds a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgresql://user:password@host:5432/name;"
            " PostgreSQL is the only engine."
        )
    return database
