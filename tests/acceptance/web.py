"""The web server as it runs in production: gunicorn, with processes of its own."""

from __future__ import annotations

import hmac
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.request import urlopen

from tests.running import PROJECT, database_url
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.models import UserProfile

SECRET: Final = "app-secret"  # noqa: S105  no real one
SETTINGS: Final = {
    "DEBUG": "off",
    "SECRET_KEY": "of the tests",
    "ALLOWED_HOSTS": "127.0.0.1",
    # The tests speak HTTP, as a proxy would.
    "BEHIND_TLS_PROXY": "on",
    "WHATSAPP_APP_SECRET": SECRET,
    "WHATSAPP_VERIFY_TOKEN": "verify-token",
    "ENGAGEMENT_SEND_HOURS": "",
    "ENGAGEMENT_SEND_RATE_PER_SECOND": "0",
}
TLS: Final = {"X-Forwarded-Proto": "https"}


class WebServer:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def kill_workers(self) -> None:
        subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=True)


@contextmanager
def web_server(*, workers: int = 2, threads: int = 8, **environment: str) -> Iterator[WebServer]:
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}"),
            *("--workers", str(workers), "--threads", str(threads), "--log-level", "warning"),
        ],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": database_url(), **SETTINGS, **environment},
    )
    try:
        wait_until(lambda: is_up(port), "the web server does not answer")
        yield WebServer(process, port)
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def webhook_body(number: str, text: str, *, message_id: str) -> bytes:
    """A message as WhatsApp's Cloud API reports it, sent now."""
    message = {
        "from": number,
        "id": message_id,
        "timestamp": str(int(time.time())),
        "type": "text",
        "text": {"body": text},
    }
    value = {"messaging_product": "whatsapp", "metadata": {}, "messages": [message]}
    entry = [{"id": "1", "changes": [{"field": "messages", "value": value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()


def webhook_headers(body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": signature_of(body), "Content-Type": "application/json", **TLS}


def signature_of(body: bytes) -> str:
    return "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()


def number_of(user: UserProfile) -> str:
    return str(user.whatsapp_jid).partition("@")[0]
