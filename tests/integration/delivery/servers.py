"""Servers that a backend may meet: they count what they received, and answer as a test says."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from time import sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.heartbeat_server import never_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class RawServer(NamedTuple):
    """The address of a server, and the requests that arrived whole."""

    url: str
    requests: list[bytes]


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[RawServer]:
    """A server that reads one request per connection, notes it, and then calls `answer`."""
    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        # The client may be gone at any time.
        with client, suppress(OSError):
            requests.append(_request(client))
            answer(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}", requests)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _request(client: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65_536) or _raise()
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(65_536) or _raise()
    return head + b"\r\n\r\n" + body


def _raise() -> bytes:
    raise ConnectionError


def whole(status: str, body: bytes, *headers: str) -> Callable[[socket.socket], None]:
    """An ordinary answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", "")
    return lambda client: client.sendall("\r\n".join(lines).encode() + body)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(client: socket.socket) -> None:
    """Close without an answer."""


def trickle(client: socket.socket) -> None:
    """Send one byte every tenth of a second, so that no socket timeout is ever over."""
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        client.sendall(b" ")
        sleep(0.1)


def half(client: socket.socket) -> None:
    """Promise more than is sent."""
    client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"messages": [')


def huge(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    for _ in range(500):
        client.sendall(b" " * 100_000)


def another_protocol(client: socket.socket) -> None:
    client.sendall(b"220 mail.example.org ESMTP\r\n")


SICK: Final = {
    "stalls": never_answer,
    "resets": reset,
    "hangs up": hang_up,
    "trickles": trickle,
    "breaks off": half,
    "huge": huge,
    "another protocol": another_protocol,
}
"""Answers from which nobody can tell whether the message left."""
