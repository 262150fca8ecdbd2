"""A proxy that stops forwarding without closing: keepalives notice nothing, and nobody answers."""

from __future__ import annotations

import select
import signal
import socket
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import pytest
from django.db import connection

from engagement.models import EngagementJobRun, UserEngagementState
from tests.database import closed_gate, wait_at_gate, wait_for_somebody_at_the_gate
from tests.factories import make_users
from tests.running import database_url, start_process

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS: Final = {
    "ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS": "1",
    "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "0",
}


class Proxy:
    """Forwards connections to the database until `fall_silent`; then it only takes what it gets."""

    def __init__(self) -> None:
        self._parameters = connection.get_connection_params()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._silent = False
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        login = database_url().partition("@")[0]
        port = self._server.getsockname()[1]
        return (
            f"{login}@127.0.0.1:{port}/{connection.settings_dict['NAME']}?sslmode=disable&connect_timeout=2"
        )

    def fall_silent(self) -> None:
        self._silent = True

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._forward, args=[client], daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._parameters.get("host") or "127.0.0.1", self._parameters.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _forward(self, client: socket.socket) -> None:
        with client, self._connect() as server, suppress(OSError):
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    data = source.recv(65_536)
                    if not data:
                        return
                    if not self._silent:
                        (server if source is client else client).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.mark.parametrize("interrupted", [False, True])
def test_run_ends_although_nobody_answers(committed: None, proxy: Proxy, *, interrupted: bool) -> None:
    make_users(6, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        process = start_process(
            *("run_engagement_daily", "--json", "--batch-size", "2", "--workers", "1"),
            DATABASE_URL=proxy.url,
            **LIMITS,
        )
        wait_for_somebody_at_the_gate(gate)
        proxy.fall_silent()
        if interrupted:
            process.send_signal(signal.SIGTERM)
        began = monotonic()
        _, err = process.communicate(timeout=100)
    assert process.returncode == (143 if interrupted else 1), err
    assert "engagement_statement_abandoned" in err
    assert monotonic() - began < 60
    assert UserEngagementState.objects.filter(state="goodbye_sent").count() == 0
    assert EngagementJobRun.objects.get().status == "running"
