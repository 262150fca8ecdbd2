"""One ping, as a process of its own: `python heartbeat_ping.py`, with what to send on stdin as JSON.

Whatever hangs, be it the look-up of the name, a handshake or an answer that comes byte by byte, a
process can be ended; a call cannot. Nothing of the app is imported, so that it starts at once.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

if TYPE_CHECKING:
    from http.client import HTTPMessage


class KeepMethod(HTTPRedirectHandler):
    """Follows 307 and 308 with the same method and body, as they ask for; urllib refuses to."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if code in {307, 308} and req.data is not None:
            return Request(newurl, data=req.data, headers=dict(req.header_items()))  # noqa: S310  checked by conf
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def main() -> None:
    """Ping once. Exits with 0, with 1 and the reason on stderr, or by SIGALRM when the time is up."""
    order: dict[str, Any] = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    body = order["body"]
    request = Request(  # noqa: S310  checked by conf
        order["url"],
        data=None if body is None else body.encode(),
        headers={"User-Agent": order["user_agent"], "Content-Type": "text/plain; charset=utf-8"},
    )
    try:
        build_opener(KeepMethod).open(request).close()
    except HTTPError as error:
        sys.exit(f"HTTP status {error.code}")
    except Exception as error:  # noqa: BLE001  whatever it is, it is told in a word
        sys.exit(_reason(error))


def _reason(error: BaseException) -> str:
    """What went wrong, without the address, which is a secret and stands in the text of some errors."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        return _reason(error.reason)
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


if __name__ == "__main__":
    main()
