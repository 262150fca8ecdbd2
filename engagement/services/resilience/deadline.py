"""A deadline for each statement, kept by the client.

The server has one of its own, `statement_timeout`. But a server or a proxy that stops answering without
closing the connection would keep the client waiting for ever: the next hop acknowledges every packet, so the
keepalives of TCP notice nothing.
"""

from __future__ import annotations

import math
import os
import socket
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog
from django.db import DEFAULT_DB_ALIAS, connections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARGIN: Final = timedelta(seconds=5)
"""How much later than the server the client gives up, so that the server's own error arrives first."""
_LOOK_SECONDS: Final = 1.0

log = structlog.get_logger("engagement")


@contextmanager
def statement_deadline(statement_timeout: timedelta, *, only_statements: bool = False) -> Iterator[None]:
    """Cut the connection if a statement inside, or the commit, takes longer than the server allows.

    The statement then fails like one whose server has gone away. With `only_statements` the time between
    them, commits among it, has no limit. The thread that watches has ended when the block ends.
    """
    watch = _Watch((statement_timeout + MARGIN).total_seconds(), only_statements=only_statements)
    with connections[DEFAULT_DB_ALIAS].execute_wrapper(watch.statement), watch:
        yield


class _Watch:
    """A thread that cuts the connection when the time of a statement is over."""

    def __init__(self, seconds: float, *, only_statements: bool) -> None:
        self._seconds = seconds
        self._seconds_between = math.inf if only_statements else seconds
        # The connection of this thread: in the watching one Django would open another.
        self._connection = connections[DEFAULT_DB_ALIAS]
        self._expires_at = time.monotonic() + self._seconds_between
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True, name="deadline")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Give each statement, and what follows it, the whole time."""
        self._expires_at = time.monotonic() + self._seconds
        try:
            return execute(*arguments)
        finally:
            self._expires_at = time.monotonic() + self._seconds_between

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds_to_look()):
            if time.monotonic() >= self._expires_at:
                self._cut()
                return

    def _seconds_to_look(self) -> float:
        """A statement may begin at any time."""
        return min(max(self._expires_at - time.monotonic(), 0.01), _LOOK_SECONDS)

    def _cut(self) -> None:
        session = self._connection.connection
        if session is None or session.closed:
            return
        log.warning("engagement_statement_abandoned", seconds=self._seconds)
        # Another deadline, or the server, may have closed it a moment ago.
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)
