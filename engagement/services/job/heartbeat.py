"""The heartbeat: tells a monitoring service that a run has started and how it ended.

In the way of Healthchecks and what is compatible with it: https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import structlog

import engagement
from engagement.models import RunStatus

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.services.job.result import RunResult

SECONDS_PER_PING: Final = 2.5
"""How long the run waits for the service. A run has two pings, and does not try again."""
SECONDS_TO_END: Final = 1.0
"""How long the process of a ping may take beyond that to be gone."""

_PROGRAM: Final = Path(__file__).with_name("heartbeat_ping.py")

log = structlog.get_logger("engagement")


class Heartbeat:
    """The pings of one run; without a URL, none.

    Transaction: none, and must not be called inside one, since it waits for the network.
    Repeating: the service counts each ping. Raises nothing: what goes wrong is logged, without the
    URL, and changes nothing else.
    """

    def __init__(self, url: str, *, job_id: UUID) -> None:
        self._url = url
        self._job_id = job_id

    def started(self) -> None:
        self._ping("/start")

    def ended(self, result: RunResult) -> None:
        """Tell how the run ended; a failure with a sentence that says why.

        A run with users who failed is a failure here, as the service itself takes any exit code
        but 0 for one: nobody but a person can help those users.
        """
        if result.status is RunStatus.SUCCEEDED:
            self._ping("")
        else:
            self._ping("/fail", body=sentence_about(result))

    def _ping(self, kind: str, *, body: str | None = None) -> None:
        if not self._url:
            return
        try:
            error = _send(ping_url(self._url, kind, job_id=self._job_id), body)
        except (OSError, subprocess.SubprocessError) as failure:
            # Not its text, which would name the program.
            error = type(failure).__name__
        if error:
            log.warning("engagement_heartbeat_failed", ping=kind.removeprefix("/") or "success", error=error)


def ping_url(url: str, kind: str, *, job_id: UUID) -> str:
    """Where to send one kind of ping. The run's id lets the service tell runs that overlap apart."""
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode({"rid": job_id})]))
    return parts._replace(path=parts.path.removesuffix("/") + kind, query=query).geturl()


def sentence_about(result: RunResult) -> str:
    """Why a run is no success, without anything about users."""
    if result.failure:
        return result.failure
    if result.status is RunStatus.PARTIAL:
        return f"{result.failed:,} of {result.processed:,} users could not be moved; the log names them."
    return f"The run was interrupted after {result.processed:,} users; the next run does the rest."


def _send(url: str, body: str | None) -> str | None:
    """Send one ping in a process of its own; returns what went wrong, if something did."""
    order = {
        "url": url,
        "body": body,
        "user_agent": f"engagement/{engagement.__version__}",
        "seconds": SECONDS_PER_PING,
    }
    done = subprocess.run(  # noqa: S603  the program is ours; the URL goes by stdin, where `ps` does not see it
        [sys.executable, "-I", "-S", str(_PROGRAM)],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=SECONDS_PER_PING + SECONDS_TO_END,
        check=False,
        # Ctrl-C is for the run, which will want to tell how it ended.
        start_new_session=True,
    )
    if done.returncode == -signal.SIGALRM:
        return f"no answer within {SECONDS_PER_PING} seconds"
    if done.returncode:
        return done.stderr.strip() or f"the process ended with code {done.returncode}"
    return None
