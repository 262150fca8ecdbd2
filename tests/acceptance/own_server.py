"""A PostgreSQL server that tests may crash. All settings are the defaults."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from config.private_postgresql.server import PORT, PrivateServer
from tests.running import run_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "postgres"
TABLES = (
    "user_profiles, user_engagement_states, engagement_state_transitions, engagement_message_queue,"
    " engagement_sending_channels"
)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server with its own data folder, reached through its socket file."""

    server: PrivateServer

    @classmethod
    def started(cls, project: Path) -> OwnServer:
        """With the app's tables."""
        own = cls(PrivateServer(project))
        own.start()
        migrated = run_process("migrate", "--verbosity", "0", DATABASE_URL=own.url)
        assert migrated.code == 0, migrated.err
        return own

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{DATABASE}?host={self._sockets}&port={PORT}"

    @property
    def _sockets(self) -> Path:
        """A link to the socket folder, which is a new one at each start: clients keep their address."""
        return self.server.folder.with_name("sockets")

    def start(self) -> None:
        sockets = self.server.socket_folder()
        self._sockets.unlink(missing_ok=True)
        self._sockets.symlink_to(sockets)

    def crash(self) -> None:
        """What `pg_ctl stop -m immediate` does: no goodbye to the clients, no clean shutdown."""
        process = self.server.process()
        assert process is not None
        os.kill(process[0], signal.SIGQUIT)
        wait_until(lambda: not self.server.pid_file.exists(), "the server does not end")

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def empty(self) -> None:
        with self.connect() as connection:
            connection.execute(f"TRUNCATE {TABLES}")

    def remove(self) -> None:
        self.server.remove()
