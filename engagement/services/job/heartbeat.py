"""The heartbeat: tells a monitoring service that a run has started and how it ended.

It speaks the protocol of Healthchecks and compatible services: https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import structlog
import urllib3

import engagement
from engagement.models import RunStatus
from engagement.services.job.progress import RunListener
from engagement.web_requests import new_pool, within

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.services.job.progress import RunProgress
    from engagement.services.job.result import RunResult

SECONDS_PER_PING: Final = 2.5
"""The longest that one ping may hold up the run. A run sends two and does not retry."""
_NO_ANSWER: Final = f"no answer within {SECONDS_PER_PING} seconds"

log = structlog.get_logger("engagement")


class Heartbeat(RunListener):
    """The pings of one run.

    Transaction: none, and must not be called inside one, because it waits for the network.
    Raises nothing: a failed ping is logged, without the URL, and changes nothing else.
    """

    def __init__(self, url: str, *, job_id: UUID) -> None:
        self._url = url
        self._job_id = job_id

    def run_started(self, progress: RunProgress) -> None:  # noqa: ARG002  the interface of a listener
        self._ping("/start")

    def run_ended(self, progress: RunProgress, result: RunResult) -> None:  # noqa: ARG002
        """Report success, or a failure with the exit code and the reason.

        A partial run is a failure, as for the service itself every exit code but 0 is one.
        """
        if result.status is RunStatus.SUCCEEDED:
            self._ping("")
        else:
            self._ping("/fail", body=f"Exit code {result.exit_code}. {failure_sentence(result)}")

    def _ping(self, kind: str, *, body: str | None = None) -> None:
        error = _send(ping_url(self._url, kind, job_id=self._job_id), body)
        if error:
            log.warning("engagement_heartbeat_failed", ping=kind.removeprefix("/") or "success", error=error)


def ping_url(url: str, kind: str, *, job_id: UUID) -> str:
    """The address of one kind of ping. The run's id lets the service match the pings of a run."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode({"rid": job_id})]))
    return parts._replace(path=parts.path.removesuffix("/") + kind, query=query).geturl()


def failure_sentence(result: RunResult) -> str:
    """Why a run did not succeed, without anything about users or the database's host and role."""
    if result.failure_summary:
        return result.failure_summary
    if result.status is RunStatus.PARTIAL:
        return f"{result.failed:,} of {result.processed:,} users could not be moved; the log names them."
    return f"The run was interrupted after {result.processed:,} users; the next run continues."


def _send(url: str, body: str | None) -> str:
    """Send one ping; returns what went wrong, or an empty text."""
    error = within(SECONDS_PER_PING, lambda: _error_of_request(url, body), name="heartbeat")
    return _NO_ANSWER if error is None else error


def _error_of_request(url: str, body: str | None) -> str:
    try:
        response = new_pool(url).request(
            "GET" if body is None else "POST",
            url,
            body=body,
            headers={
                "User-Agent": f"engagement/{engagement.__version__}",
                "Content-Type": "text/plain; charset=utf-8",
            },
            timeout=SECONDS_PER_PING,
            retries=urllib3.Retry(total=3, connect=0, read=0, status=0, other=0),
        )
    except urllib3.exceptions.HTTPError as error:
        # Not its text, which holds the URL.
        return _reason(error)
    return "" if response.status < 400 else f"HTTP status {response.status}"  # noqa: PLR2004


def _reason(error: BaseException) -> str:
    """The cause of a failed request in a few words."""
    causes = (getattr(error, "reason", None), *error.args, error.__cause__)
    for cause in causes:
        if isinstance(cause, Exception):
            return _reason(cause)
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return _NO_ANSWER
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
