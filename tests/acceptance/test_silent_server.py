"""A proxy that stops forwarding without closing: keepalives notice nothing, and nobody answers."""

from __future__ import annotations

import select
import signal
import socket
import threading
from contextlib import ExitStack, closing, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
import urllib3
from django.db import connection

from engagement.models import EngagementJobRun, UserEngagementState
from tests.acceptance.deliveries import backend_environment, queue_goodbyes, send_to_the_end, start_sender
from tests.acceptance.runs import start
from tests.acceptance.web import TLS, web_server
from tests.database import closed_gate, wait_at_gate, wait_for_somebody_at_the_gate
from tests.factories import make_users
from tests.running import database_url, start_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.sandbox.server import WhatsAppSandbox

LIMITS: Final = {
    "ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS": "1",
    "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "0",
}


PAGE_OF_MESSAGES: Final = b'AS "due", "engagement_message_queue"."id"'
"""In the statement with which a sender looks for the next messages."""
CLOCK: Final = b"FROM (SELECT clock_timestamp() AS now)"
"""In the statement that a sender asks before each message."""


class Proxy:
    """Forwards connections to the database until `fall_silent`; then it only takes what it gets."""

    silent_at: bytes | None = None
    """It falls silent when this is in a statement."""
    mute_at: bytes | None = None
    mutes: int = 0
    """So many connections fall silent when this is in one of their statements."""
    cut_at: bytes | None = None
    """It cuts the connection when this is in a statement, once."""

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
        is_mute = False
        with client, self._connect() as server, suppress(OSError):
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    data = source.recv(65_536)
                    if not data or (source is client and self._is_cut_by(data)):
                        return
                    is_mute = is_mute or (source is client and self._is_muted_by(data))
                    if not (self._silent or is_mute):
                        (server if source is client else client).sendall(data)

    def _is_muted_by(self, statement: bytes) -> bool:
        if self.mutes and self.mute_at and self.mute_at in statement:
            self.mutes -= 1
            return True
        return False

    def _is_cut_by(self, statement: bytes) -> bool:
        if self.silent_at and self.silent_at in statement:
            self._silent = True
        if self.cut_at and self.cut_at in statement:
            self.cut_at = None
            return True
        return False


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


def test_every_program_ends_although_nobody_answers(sandbox: WhatsAppSandbox) -> None:
    (user,) = queue_goodbyes(1)
    silences = [
        ("send_messages --json", PAGE_OF_MESSAGES),
        ("send_messages --watch --workers 2", PAGE_OF_MESSAGES),
        ("send_messages --json", CLOCK),
        ("check_sending", b"MIN(COALESCE"),
        ("check_engagement_runs", b'FROM "engagement_job_runs"'),
        (f"explain_engagement {user.user_id}", b'FROM "user_engagement_states"'),
    ]
    with ExitStack() as proxies:
        # At the same time, because each of them waits for some seconds.
        started = []
        for command, statement in silences:
            proxy = proxies.enter_context(closing(Proxy()))
            proxy.silent_at = statement
            environment = {"DATABASE_URL": proxy.url, **backend_environment(sandbox), **LIMITS}
            started.append(start(*command.split(), **environment))
        ends = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert [code for _, code in ends] == [1] * len(silences), ends
    assert "Traceback" not in str(ends)
    assert sandbox.messages == []


def test_a_sender_goes_on_after_a_connection_is_cut(sandbox: WhatsAppSandbox, proxy: Proxy) -> None:
    queue_goodbyes(3)
    proxy.cut_at = PAGE_OF_MESSAGES
    outcome = send_to_the_end(sandbox, DATABASE_URL=proxy.url)
    assert (outcome.code, outcome.json["sent"]) == (0, 3)
    assert "engagement_database_away" in outcome.err


def test_a_sender_survives_several_silences(sandbox: WhatsAppSandbox, proxy: Proxy) -> None:
    queue_goodbyes(3)
    proxy.mute_at, proxy.mutes = CLOCK, 2
    limit = {"ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS": "1"}
    outcome = send_to_the_end(sandbox, DATABASE_URL=proxy.url, **limit)
    assert (outcome.code, outcome.json["sent"], proxy.mutes) == (0, 3, 0)


def test_a_worker_that_fails_ends_a_watching_sender(sandbox: WhatsAppSandbox, proxy: Proxy) -> None:
    """So that what watches the process notices, and starts it again with all its workers."""
    queue_goodbyes(3)
    proxy.cut_at = PAGE_OF_MESSAGES
    limit = {"ENGAGEMENT_RECONNECT_LIMIT_SECONDS": "0"}
    sender = start_sender(sandbox, "--watch", "--workers", "2", DATABASE_URL=proxy.url, **limit)
    _, err = sender.communicate(timeout=60)
    assert sender.returncode == 1, err
    assert "engagement_sender_worker_failed" in err


def test_a_request_ends_although_the_database_does_not_answer(committed: None, proxy: Proxy) -> None:
    proxy.silent_at = b"engagement_api_tokens"
    environment: Any = {"DATABASE_URL": proxy.url, **LIMITS}
    with web_server(workers=1, **environment) as server:
        answer = urllib3.request(
            "GET",
            f"{server.url}/api/v1/users/{uuid4()}/explanation",
            headers={**TLS, "Authorization": f"Bearer eng_{'x' * 43}"},
            timeout=60,
            retries=False,
        )
    assert (answer.status, answer.json()["error"]["code"]) == (503, "database_away")


def test_runs_end_although_nobody_answers(committed: None, proxy: Proxy) -> None:
    make_users(6, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        run, interrupted = (
            start_process(
                *("run_engagement_daily", "--json", "--batch-size", "2", "--workers", "1"),
                DATABASE_URL=proxy.url,
                **LIMITS,
            )
            for _ in range(2)
        )
        wait_for_somebody_at_the_gate(gate, count=2)
        proxy.fall_silent()
        interrupted.send_signal(signal.SIGTERM)
        began = monotonic()
        errors = [process.communicate(timeout=100)[1] for process in (run, interrupted)]
    assert (run.returncode, interrupted.returncode) == (1, 143), errors
    assert all("engagement_statement_abandoned" in err for err in errors)
    assert monotonic() - began < 60
    assert UserEngagementState.objects.filter(state="goodbye_sent").count() == 0
    assert [job_run.status for job_run in EngagementJobRun.objects.all()] == ["running", "running"]
