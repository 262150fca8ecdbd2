"""A server that speaks the format of WhatsApp's Cloud API and remembers what it received.

It listens on this machine only, sends nothing to anybody, and knows no database.
"""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qs
from uuid import uuid4

from django.template.loader import render_to_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST: Final = "127.0.0.1"
ENDPOINTS: Final = ("messages", "marketing_messages")
MAX_BODY: Final = 1_000_000
"""Bytes."""
NEWEST: Final = 100
"""How many messages the page shows."""


@dataclass(slots=True)
class SandboxMessage:
    """A message that was received, and what has become of it."""

    number: int
    """From 1, in the order of arrival."""
    endpoint: str
    body: dict[str, Any]
    provider_message_id: str
    received_at: datetime
    events: list[str] = field(default_factory=list)
    """What happened to it since, for the page."""

    @property
    def to(self) -> str:
        return str(self.body["to"])

    @property
    def callback_data(self) -> str | None:
        return self.body.get("biz_opaque_callback_data")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: dict[str, Any] | bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, code: int, *, status: int = 400, **headers: str) -> Answer:
        """An error as the API words it."""
        body = {"error": {"message": f"(#{code})", "type": "OAuthException", "code": code}}
        return cls(status, body, headers)


Respond: TypeAlias = "Callable[[SandboxMessage], Answer | None]"
"""Another answer than acceptance, or None."""
Act: TypeAlias = "Callable[[SandboxMessage, str], str]"
"""Does what was chosen on the page for a message; returns a sentence about it."""


class WhatsAppSandbox:
    """The server and what it has received. Every message counts, also one that is then refused."""

    def __init__(
        self,
        *,
        port: int = 0,
        respond: Respond | None = None,
        act: Act | None = None,
        text_of: Callable[[SandboxMessage], str] | None = None,
    ) -> None:
        """Bind the port (0: any free one). Raises OSError if it is taken."""
        self.messages: list[SandboxMessage] = []
        self.respond = respond
        self.act = act
        self.text_of = text_of or (lambda message: json.dumps(message.body, indent=2))
        self._lock = Lock()
        self._server = _Server((HOST, port), _Handler)
        self._server.sandbox = self

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[WhatsAppSandbox]:
        """Serve in a thread while inside."""
        thread = Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def receive(self, endpoint: str, body: dict[str, Any]) -> SandboxMessage:
        # An id of WhatsApp contains the number, too.
        content = f"{body.get('to')}:{uuid4().hex}".encode()
        provider_message_id = f"wamid.{b64encode(content).decode()}"
        with self._lock:
            number = len(self.messages) + 1
            message = SandboxMessage(number, endpoint, body, provider_message_id, datetime.now(UTC))
            self.messages.append(message)
        return message

    def message(self, number: int) -> SandboxMessage | None:
        return self.messages[number - 1] if 0 < number <= len(self.messages) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many as a burst of senders opens at once.
    request_queue_size = 128
    sandbox: WhatsAppSandbox


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    # Connections stay open, as those of the real service do.
    protocol_version = "HTTP/1.1"
    timeout = 60
    # The head and the body are two packets, and the second would wait for the receipt of the first.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        content = self.rfile.read(min(_number(self.headers.get("Content-Length", "")), MAX_BODY))
        if self.path == "/act":
            self._act(parse_qs(content.decode(errors="replace")))
            return
        parts = self.path.strip("/").split("/")
        if len(parts) != 3 or parts[2] not in ENDPOINTS:  # noqa: PLR2004  /version/number/endpoint
            self._send(Answer.error(100, status=HTTPStatus.NOT_FOUND))
        elif not self.headers.get("Authorization", "").startswith("Bearer "):
            self._send(Answer.error(190, status=HTTPStatus.UNAUTHORIZED))
        else:
            self._receive(parts[2], content)

    def do_GET(self) -> None:
        if self.path != "/":
            self._send(Answer(HTTPStatus.NOT_FOUND, b"not found"))
            return
        sandbox = self.server.sandbox
        cards = [(message, sandbox.text_of(message)) for message in reversed(sandbox.messages[-NEWEST:])]
        page = render_to_string(
            "engagement/sandbox.html",
            {"cards": cards, "count": len(sandbox.messages), "can_act": sandbox.act is not None},
        )
        self._send(Answer(HTTPStatus.OK, page.encode(), {"Content-Type": "text/html; charset=utf-8"}))

    def _receive(self, endpoint: str, content: bytes) -> None:
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if not isinstance(body, dict) or not _is_message(body):
            self._send(Answer.error(100))
            return
        sandbox = self.server.sandbox
        message = sandbox.receive(endpoint, body)
        self._send((sandbox.respond and sandbox.respond(message)) or _accepted(message))

    def _act(self, form: dict[str, list[str]]) -> None:
        """Do what a button of the page says; a page from elsewhere may not."""
        sandbox = self.server.sandbox
        message = sandbox.message(_number(form.get("message", [""])[0]))
        what = form.get("what", [""])[0] + form.get("text", [""])[0]
        if self.headers.get("Origin") not in {sandbox.url, None} or not (message and what and sandbox.act):
            self._send(Answer(HTTPStatus.BAD_REQUEST, b"Open the page of the sandbox and choose an answer."))
            return
        message.events.append(sandbox.act(message, what))
        self._send(Answer(HTTPStatus.SEE_OTHER, b"", {"Location": "/"}))

    def _send(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing: a line would hold an address."""


def _number(text: str) -> int:
    """A number of at most nine digits; 0 for any other text."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004


def _is_message(body: dict[str, Any]) -> bool:
    kind = body.get("type")
    return (
        body.get("messaging_product") == "whatsapp"
        and str(body.get("to", "")).isdecimal()
        and kind in {"text", "template"}
        and isinstance(body.get(kind), dict)
    )


def _accepted(message: SandboxMessage) -> Answer:
    return Answer(
        HTTPStatus.OK,
        {
            "messaging_product": "whatsapp",
            "contacts": [{"input": message.to, "wa_id": message.to}],
            "messages": [{"id": message.provider_message_id}],
        },
    )
