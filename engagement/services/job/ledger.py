"""The run ledger: one row per run, written while it works. The only writer of `engagement_job_runs`.

A run must not stand or fall with its own record: whatever keeps the ledger from being written is
logged once, and users are moved all the same.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now

import engagement
from engagement.models import EngagementJobRun, RunStatus
from engagement.services.job.result import checks_json, errors_json, total_of
from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable
from engagement.services.resilience.transactions import in_transaction

if TYPE_CHECKING:
    from engagement.conf import EngagementSettings
    from engagement.services.job.mover import RunRequest
    from engagement.services.job.progress import Scoreboard

REFRESH_SECONDS: Final = 10
"""How often a run that works says so. Far less than `run_selectors.VANISHED_AFTER`."""
PAUSE_SECONDS: Final = 30
"""How long the ledger is left alone when it could not be written: waiting for it must cost little."""
SHORT_LOCK_TIMEOUT: Final = timedelta(seconds=1)
"""How long a row that will be written again waits for somebody who has the ledger locked."""

_WRITTEN_AGAIN: Final = (
    "status",
    "last_seen_at",
    "finished_at",
    "succeeded",
    "failed",
    "skipped",
    "skipped_by_reason",
    "checks",
    "errors",
    "failure",
)

log = structlog.get_logger("engagement")


class RunLedger:
    """Keeps the row of one run.

    Transaction: each method opens one of its own, which must be the outermost, if it writes at all.
    Repeating: each writes the whole row, so that whatever an outage swallowed is made good by the
    next. Raises nothing.
    """

    def __init__(self, request: RunRequest, settings: EngagementSettings) -> None:
        self._request = request
        self._lock_timeout = settings.lock_timeout
        self._started_at = self._next_write_at = time.monotonic()
        self._has_complained = False

    def started(self, scoreboard: Scoreboard) -> None:
        """Write that the run has begun."""
        self._write(self._row(scoreboard), lock_timeout=SHORT_LOCK_TIMEOUT)

    def still_working(self, scoreboard: Scoreboard) -> None:
        """Write how far the run has come, if that has not been done for a while."""
        if time.monotonic() >= self._next_write_at:
            self._write(self._row(scoreboard), lock_timeout=SHORT_LOCK_TIMEOUT)

    def check_ended(self, scoreboard: Scoreboard) -> None:
        """Write what a check has done, unless the ledger is out of order."""
        if not self._has_complained:
            self._write(self._row(scoreboard), lock_timeout=SHORT_LOCK_TIMEOUT)

    def finished(self, scoreboard: Scoreboard, *, status: RunStatus, failure: str | None) -> None:
        """Write how the run ended."""
        row = self._row(scoreboard)
        row.status, row.failure, row.finished_at = RunStatus(status.value), failure, Now()
        self._write(row, lock_timeout=self._lock_timeout)

    def _row(self, scoreboard: Scoreboard) -> EngagementJobRun:
        total = total_of(scoreboard.tallies)
        return EngagementJobRun(
            job_id=self._request.job_id,
            now=self._request.now,
            # The row may be added late, after an outage.
            started_at=Now() - timedelta(seconds=time.monotonic() - self._started_at),
            last_seen_at=Now(),
            succeeded=total.succeeded,
            failed=total.failed,
            skipped=total.skipped.total,
            skipped_by_reason=total.skipped._asdict(),
            checks=checks_json(scoreboard.tallies),
            errors=errors_json(scoreboard.failures),
            options=_options(self._request),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=engagement.__version__,
        )

    def _write(self, row: EngagementJobRun, *, lock_timeout: timedelta) -> None:
        write = partial(in_transaction, partial(_put, row), lock_timeout=lock_timeout)
        pause = REFRESH_SECONDS
        try:
            _on_a_live_connection(write)
        except Exception as error:  # noqa: BLE001  whatever it is, users come first
            pause = PAUSE_SECONDS
            self._complain(error)
        self._next_write_at = time.monotonic() + pause

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            log.warning("engagement_ledger_not_written", error=describe(error), exc_info=loggable(error))
        self._has_complained = True


def _put(row: EngagementJobRun) -> None:
    """Add the row, or bring it up to date."""
    EngagementJobRun.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["job_id"], update_fields=_WRITTEN_AGAIN
    )


def _on_a_live_connection(write: partial[None]) -> None:
    """Call `write`; once more if the connection turns out to have been lost since it was last used."""
    was_connected = connection.connection is not None
    try:
        write()
    except DatabaseError as error:
        # Django has closed what was lost, and opens a new one.
        if not was_connected or error_kind(error) is not ErrorKind.OUTAGE:
            raise
        write()


def _options(request: RunRequest) -> dict[str, object]:
    return {
        "checks": [check.name for check in request.checks_in_order],
        "limit": request.limit,
        "batch_size": request.batch_size,
        "workers": request.workers,
        "allow_large_run": request.allow_large_run,
    }
