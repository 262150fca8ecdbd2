"""A deadline for each statement, kept by the client.

The server has one of its own, `statement_timeout`. But a server or a proxy that stops answering without
closing the connection would keep the client waiting for ever: the next hop acknowledges every packet, so the
keepalives of TCP notice nothing.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.pq import TransactionStatus

from engagement.conf import statement_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

MARGIN: Final = timedelta(seconds=5)
"""How much later than the server the client gives up, so that the server's own error arrives first."""
_NOBODY_WAITS: Final = {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}
"""The connection is idle, or closed."""

log = structlog.get_logger("engagement")


@contextmanager
def statement_deadline(limit: timedelta) -> Iterator[None]:
    """Cut the connection if a statement inside, a commit, or a pause in a transaction takes too long.

    What waits then fails as if the server had gone away; the deadline holds for the next connection as well.
    A connection without a transaction may be idle. The thread that watches has ended when the block ends.
    """
    watch = _Watch((limit + MARGIN).total_seconds())
    with connections[DEFAULT_DB_ALIAS].execute_wrapper(watch.statement), watch:
        yield


def request_deadline() -> AbstractContextManager[None]:
    """The deadline of the settings; none if the setting is wrong, which the services report themselves."""
    try:
        return statement_deadline(statement_timeout())
    except ImproperlyConfigured:
        return nullcontext()


class _Watch:
    """A thread that cuts the connection when the time of a statement is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # The connection of this thread: in the watching one Django would open another.
        self._connection = connections[DEFAULT_DB_ALIAS]
        self._expires_at = time.monotonic() + seconds
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
            self._expires_at = time.monotonic() + self._seconds

    def _watch(self) -> None:
        while not self._ended.wait(max(self._expires_at - time.monotonic(), 0.01)):
            if time.monotonic() >= self._expires_at:
                self._expires_at = time.monotonic() + self._seconds
                self._cut()

    def _cut(self) -> None:
        session = self._connection.connection
        if session is None or session.info.transaction_status in _NOBODY_WAITS:
            return
        log.warning("engagement_statement_abandoned", seconds=self._seconds)
        # Another deadline, or the server, may have closed it a moment ago.
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)
