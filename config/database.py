"""Which PostgreSQL the project talks to, and how."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import environ
from django.core.exceptions import ImproperlyConfigured

POSTGRESQL = "django.db.backends.postgresql"
PRIVATE_POSTGRESQL = "config.private_postgresql"


NOTICE_LOSS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's options, in seconds and milliseconds, unless the URL says otherwise: by default a
connection whose other end has vanished is waited for for hours."""


def database_settings(*, url: str, behind_pooler: bool, development: bool) -> dict[str, Any]:
    """The entry for Django's DATABASES.

    `url` names a PostgreSQL server; without one, development gets the private server that pip
    installed. `behind_pooler` keeps Django from anything that outlives a transaction, for
    PgBouncer and its like in transaction mode. Raises ImproperlyConfigured, with one sentence,
    when there is no server to talk to or when it is not PostgreSQL.
    """
    if url:
        database = _parsed(url)
        database["OPTIONS"] = NOTICE_LOSS | database.get("OPTIONS", {})
    elif development:
        database = {"ENGINE": PRIVATE_POSTGRESQL, "NAME": "postgres", "USER": "postgres"}
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL is not set. Name the PostgreSQL server to use, as in"
            " DATABASE_URL=postgresql://user:password@host:5432/name"
            " (only with DEBUG=on may it be left out)."
        )
    # A prepared statement belongs to one server session, and the pooler changes sessions.
    if behind_pooler:
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
        database.setdefault("OPTIONS", {})["prepare_threshold"] = None
    return database


def _parsed(url: str) -> dict[str, Any]:
    scheme = url.partition("://")[0]
    database: dict[str, Any] = {}
    if environ.Env.DB_SCHEMES.get(scheme) == POSTGRESQL:
        with suppress(ValueError):  # a port that is no number, say
            database = dict(environ.Env.db_url_config(url))
    if not database.get("NAME"):
        # The URL is not repeated here: it holds a password.
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgresql://user:password@host:5432/name;"
            " PostgreSQL is the only engine."
        )
    return database
