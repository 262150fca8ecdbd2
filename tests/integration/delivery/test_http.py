"""One HTTP exchange: what certainly never left, and what may have."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Final

import pytest

from engagement.conf import is_web_address
from engagement.message_backends import http
from engagement.message_backends.base import Refused, Scope, Unknown
from engagement.message_backends.http import Answer, post
from tests.integration.delivery.servers import SICK, raw_server, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS: Final = 1.0


def ask(url: str, *, seconds: float = SECONDS) -> Answer | Refused | Unknown:
    return post(url, body=b"{}", headers={"Content-Type": "application/json"}, seconds=seconds)


@pytest.mark.parametrize("treat", SICK.values(), ids=SICK)
def test_a_lost_answer_is_told_as_such_and_in_time(treat: Callable[[socket.socket], None]) -> None:
    with raw_server(treat) as server:
        began_at = monotonic()
        exchange = ask(server.url)
    assert isinstance(exchange, Unknown)
    assert monotonic() - began_at < 5 * SECONDS
    assert len(server.requests) == 1


def test_a_closed_port_was_never_reached() -> None:
    with raw_server(stall_never) as server:
        url = server.url
    assert isinstance(ask(url), Refused)


def stall_never(client: socket.socket) -> None:
    raise AssertionError("nobody connects")


def test_a_name_without_an_address_was_never_reached() -> None:
    assert isinstance(ask("http://no-such-host.invalid/"), Refused)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_is_not_trusted_ends_it_before_the_message(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    subprocess.run(
        [*request.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.path)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    exchange = ask(f"https://127.0.0.1:{server.server_port}/", seconds=10)
    thread.join()
    server.server_close()
    assert exchange == Refused(Scope.CONNECTION, "certificate")
    assert received == []


@pytest.mark.parametrize(
    "url", ["https:///x", "http://127.0.0.1:99999/", "https://[x", "ftp://127.0.0.1/", "http://127.0.0.1:0/"]
)
def test_an_impossible_address_was_never_reached(url: str) -> None:
    assert isinstance(ask(url), Refused)
    assert not is_web_address(url)


@contextmanager
def web_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_that_speaks_no_tls_never_got_the_message() -> None:
    with web_server(BaseHTTPRequestHandler) as server:
        assert isinstance(ask(f"https://{server}/"), Refused)


def test_a_connection_that_is_not_made_in_time_was_never_reached() -> None:
    """The server takes no more connections: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.settimeout(0)
            each.connect_ex(("127.0.0.1", port))
        exchange = ask(f"http://127.0.0.1:{port}/", seconds=0.5)
        for each in waiting:
            each.close()
    assert isinstance(exchange, Refused)


def test_what_was_given_up_before_it_was_sent_does_not_leave_later() -> None:
    content = http._Content(b"{}")
    assert content.withhold()
    with pytest.raises(TimeoutError):
        next(iter(content))
    assert not content.has_begun
    sent = http._Content(b"{}")
    assert list(sent) == [b"{}"]
    assert not sent.withhold()


def test_a_proxy_that_refuses_the_way_means_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(407)

        def log_message(self, *_arguments: object) -> None:
            pass

    http._kept.clear()
    with web_server(Proxy) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy}")
        exchange = ask("https://graph.example.org/v23.0/1/messages")
    assert isinstance(exchange, Refused)
    assert asked == ["graph.example.org:443"]


def test_an_answer_that_arrives_whole_is_given_back() -> None:
    with raw_server(whole("429 Too Many Requests", b'{"error": {}}', "Retry-After: 30")) as server:
        assert ask(server.url) == Answer(429, b'{"error": {}}', "30")


def test_a_redirect_is_not_followed() -> None:
    with raw_server(whole("307 Temporary Redirect", b"", "Location: /elsewhere")) as server:
        exchange = ask(server.url)
    assert isinstance(exchange, Answer)
    assert exchange.status == 307
    assert len(server.requests) == 1


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    http._kept.clear()
    with raw_server(whole("200 OK", b"by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        exchange = ask("http://graph.example.org/v23.0/1/messages")
    assert exchange == Answer(200, b"by proxy")
    assert proxy.requests[0].startswith(b"POST http://graph.example.org/v23.0/1/messages ")


def test_a_proxy_that_is_away_means_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    http._kept.clear()
    with raw_server(stall_never) as gone:
        url = gone.url
    monkeypatch.setenv("http_proxy", url)
    assert isinstance(ask("http://graph.example.org/v23.0/1/messages"), Refused)


@contextmanager
def keeping_connections(told: Callable[[object], None]) -> Iterator[str]:
    """A server that keeps its connections, and tells of each request from where it came; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            told(self.client_address)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[object] = []
    with keeping_connections(connections.append) as url:
        ask(url)
        ask(url)
        monkeypatch.setattr(http, "MAX_IDLE_SECONDS", 0.0)
        ask(url)
    assert connections[0] == connections[1] != connections[2]


def test_each_of_several_workers_keeps_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    connections = set()
    together = threading.Barrier(4, timeout=10)

    def answer_four_at_once(client: object) -> None:
        connections.add(client)
        together.wait()

    with keeping_connections(answer_four_at_once) as url:
        for _ in range(3):
            workers = [threading.Thread(target=ask, args=(url,), kwargs={"seconds": 10}) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    assert len(connections) == 4
    assert "pool is full" not in caplog.text
