"""One HTTP exchange with a total deadline, which tells "never sent" from "answer lost"."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError, SSLError

from engagement.message_backends.base import TIMEOUT, TOO_LARGE, Refused, Scope, Unknown
from engagement.web_requests import new_pool, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_ANSWER: Final = 65_536
"""Bytes. A provider's answer is far smaller."""
MAX_IDLE_SECONDS: Final = 1.5
"""A connection that was idle for longer is not used again, because the server may have given it up.

Node.js does after 5 seconds, gunicorn after 2; what is sent at that moment has an unknown outcome.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that arrived whole."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None

    def json(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer | Refused | Unknown:
    """Send a POST request, once. Follows no redirect and retries nothing. Raises nothing.

    Refused if the server was never reached; Unknown if the request may have arrived, but no whole answer did.
    """
    content = _Content(body)
    exchange = within(
        seconds, lambda: _exchange(url, content=content, headers=headers, seconds=seconds), name="send"
    )
    return exchange or (_not_sent(TIMEOUT) if content.withhold() else Unknown(TIMEOUT))


class _Content:
    """The body of a request, which urllib3 asks for when it is connected and has sent the head.

    Without its body no server can have taken the request.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._lock = Lock()
        self._is_withheld = False
        self.has_begun = False

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        with self._lock:
            if self._is_withheld:
                raise TimeoutError
            self.has_begun = True
        yield self._body

    def withhold(self) -> bool:
        """Keep the body from being sent; returns whether none of it was."""
        with self._lock:
            self._is_withheld = True
            return not self.has_begun


def _not_sent(reason: str) -> Refused:
    return Refused(Scope.CONNECTION, reason)


def _exchange(
    url: str, *, content: _Content, headers: Mapping[str, str], seconds: float
) -> Answer | Refused | Unknown:
    try:
        server = (urlsplit(url).scheme, urlsplit(url).netloc)
        pool = _kept_pool(server) or new_pool(url)
        response = pool.request(
            "POST",
            url,
            body=iter(content),
            headers={**headers, "Content-Length": str(len(content))},
            timeout=urllib3.Timeout(total=seconds),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            answer = response.read(MAX_ANSWER + 1)
            is_whole = len(answer) <= MAX_ANSWER and not response.read(1)
        finally:
            response.close()
        _keep(pool, server)
    except Exception as error:  # noqa: BLE001  whatever happens, the sender gets an outcome
        reason = _reason_of(error)
        return Unknown(reason) if content.has_begun else _not_sent(reason)
    if not is_whole:
        return Unknown(TOO_LARGE)
    return Answer(response.status, answer, response.headers.get("Retry-After"))


def _reason_of(error: BaseException) -> str:
    """A word for the failure, without the address."""
    if isinstance(error, MaxRetryError) and error.reason:
        return _reason_of(error.reason)
    if isinstance(error, ReadTimeoutError):
        return TIMEOUT
    if isinstance(error, SSLError) and _is_about_the_certificate(error):
        return "certificate"
    return type(error).__name__ if isinstance(error, HTTPError | OSError) else "error"


def _is_about_the_certificate(error: BaseException) -> bool:
    causes = [*error.args, error.__cause__, error.__context__]
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


_kept: Final[dict[tuple[str, str], list[tuple[float, urllib3.PoolManager]]]] = {}
"""By scheme and host: the connections that are not in use, each in a pool of its own, and since when."""
_kept_lock: Final = Lock()


def _kept_pool(server: tuple[str, str]) -> urllib3.PoolManager | None:
    """The pool that was used last, for the caller alone; None if it was idle for long."""
    with _kept_lock:
        pools = _kept.get(server, [])
        since, pool = pools.pop() if pools else (0.0, None)
        if time.monotonic() - since <= MAX_IDLE_SECONDS:
            return pool
        pools.clear()  # the others have been idle for longer
    return None


def _keep(pool: urllib3.PoolManager, server: tuple[str, str]) -> None:
    with _kept_lock:
        _kept.setdefault(server, []).append((time.monotonic(), pool))
