"""How long a message takes through the webhook: 16 clients at once, alone and beside a run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import urllib3
from django.utils import timezone

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    InboundMessage,
    UserEngagementState,
    UserProfile,
)
from tests.acceptance.web import number_of, web_server, webhook_body, webhook_headers
from tests.bench.measuring import PRODUCTION
from tests.factories import make_users
from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS: Final = 16
TABLES: Final = (
    *(InboundMessage, EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile),
)


def report(size: int) -> str:
    """`size` messages to a server with two processes, alone and while as many users are moved."""
    lines = [f"{size:,} messages, {CLIENTS} clients, 2 processes of the web server"]
    for name, beside in (("alone", False), ("beside a run", True)):
        seconds = sorted(_latencies(size, beside_a_run=beside))
        rate = len(seconds) / sum(seconds) * CLIENTS
        lines.append(
            f"{name}: p50 {statistics.median(seconds) * 1000:.0f} ms,"
            f" p99 {seconds[int(len(seconds) * 0.99)] * 1000:.0f} ms, {rate:.0f} per second"
        )
    return "\n".join(lines) + "\n"


def _latencies(size: int, *, beside_a_run: bool) -> list[float]:
    for table in TABLES:
        table.objects.all()._raw_delete(table.objects.db)
    users = make_users(size, "dormant")
    for _ in range(20 if beside_a_run else 0):
        make_users(size, "silent", last_activity_at=timezone.now() - timedelta(days=20))
    bodies = [
        webhook_body(number_of(user.user), "oi", message_id=f"wamid.{number}")
        for number, user in enumerate(users)
    ]
    with web_server(LOG_LEVEL="WARNING", PYTHONWARNINGS="ignore") as server:
        url = f"{server.url}/webhooks/whatsapp"
        _ask_all(url, bodies[:CLIENTS])
        run = _start_run() if beside_a_run else None
        try:
            return _ask_all(url, bodies[CLIENTS:])
        finally:
            if run:
                run.wait()


def _start_run() -> subprocess.Popen[bytes]:
    run = subprocess.Popen(
        [sys.executable, "manage.py", "run_engagement_daily", "--no-progress"],
        cwd=PROJECT,
        env={**PRODUCTION, "DATABASE_URL": database_url(), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
    )
    time.sleep(1)  # it starts
    return run


def _ask_all(url: str, bodies: Sequence[bytes]) -> list[float]:
    pool = urllib3.PoolManager(maxsize=CLIENTS, retries=False)

    def ask(body: bytes) -> float:
        headers = webhook_headers(body)
        began_at = time.perf_counter()
        answer = pool.request("POST", url, body=body, headers=headers)
        if answer.status != 200:
            raise SystemExit(f"bench: the webhook answered {answer.status}.")
        return time.perf_counter() - began_at

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(ask, bodies))
