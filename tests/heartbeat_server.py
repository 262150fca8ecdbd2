"""A monitoring service on this machine, healthy or faulty."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Ping(NamedTuple):
    """A request to the service."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: str
    agent: str


class Service(NamedTuple):
    """The address of the service, and the pings that arrived."""

    url: str
    pings: list[Ping]


@contextmanager
def healthy_service(*, status: int = 200, redirect: int | None = None) -> Iterator[Service]:
    """A service that answers with `status`, or redirects every ping first."""
    pings: list[Ping] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            url = urlsplit(self.path)
            if redirect and not url.path.startswith("/moved"):
                self.send_response(redirect)
                self.send_header("Location", f"/moved{self.path}")
            else:
                agent = self.headers["User-Agent"]
                pings.append(Ping(self.command, url.path, parse_qs(url.query), body, agent))
                self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815  the interface of http.server

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Service(f"http://127.0.0.1:{server.server_port}/ping/secret-id", pings)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def sick_service(treat: Callable[[socket.socket], None]) -> Iterator[str]:
    """A service that calls `treat` for every connection; yields its URL."""
    over = threading.Event()
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not over.is_set():
                client, _ = server.accept()
                clients.append(client)
                # The client may close the connection at any time.
                with client, suppress(OSError):
                    treat(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/ping/secret-id"
        finally:
            over.set()
            # A ping that was given up may go on reading as long as there is something to read.
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            socket.create_connection(server.getsockname()).close()
            thread.join()


def never_answer(client: socket.socket) -> None:
    """Read until the client gives up."""
    while client.recv(4096):
        pass


def reset(client: socket.socket) -> None:
    """Reset the connection."""
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def talk_nonsense(client: socket.socket) -> None:
    """Answer in another protocol."""
    client.sendall(b"220 mail.example.org ESMTP\r\n")
    never_answer(client)


def answer_byte_by_byte(client: socket.socket) -> None:
    """Send one byte every fifth of a second, without end."""
    client.settimeout(0.2)
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + 1_000 * b"z":
        client.sendall(bytes([byte]))
        wait_for_silence(client)


def wait_for_silence(client: socket.socket) -> None:
    """Read for a fifth of a second; raises OSError when the client is gone."""
    try:
        while client.recv(4096):
            pass
    except TimeoutError:
        return
    raise ConnectionError
