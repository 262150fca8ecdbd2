"""A PostgreSQL server that tests may crash. All settings are the defaults."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from config.private_postgresql import process, server
from config.private_postgresql.place import Place
from tests.acceptance.runs import wait_until
from tests.running import run_process

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "postgres"
TABLES = "user_profiles, user_engagement_states, engagement_state_transitions, engagement_message_queue"


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server with its own data folder, reached through its socket file."""

    place: Place

    @classmethod
    def started(cls, project: Path) -> OwnServer:
        """A running server with the app's tables."""
        own = cls(Place(project=project, user_id=os.geteuid()))
        own.start()
        migrated = run_process("migrate", "--verbosity", "0", DATABASE_URL=own.url)
        assert migrated.code == 0, migrated.err
        return own

    @property
    def url(self) -> str:
        address = server.running(self.place)
        return f"postgresql://postgres@/{DATABASE}?host={address.host}&port={address.port}"

    def start(self) -> None:
        server.running(self.place)

    def crash(self) -> None:
        """Stop as `pg_ctl stop -m immediate` does, without a clean shutdown."""
        data = self.place.link.resolve() / "data"
        pid = process.server_pid(data)
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: process.server_pid(data) is None, "the server does not end")

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def empty(self) -> None:
        with self.connect() as connection:
            connection.execute(f"TRUNCATE {TABLES}")

    def remove(self) -> None:
        self.place.remove()
