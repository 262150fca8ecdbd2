"""The run ledger: one row per run, written while it works. The only writer of `engagement_job_runs`.

A ledger that cannot be written is logged once and does not keep the run from moving users.
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
from django.utils import timezone

import engagement
from engagement.models import EngagementJobRun
from engagement.schedule import gap_to_clock
from engagement.services.job.progress import RunListener
from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable
from engagement.services.resilience.transactions import in_transaction

if TYPE_CHECKING:
    from engagement.conf import EngagementSettings
    from engagement.services.job.progress import RunProgress
    from engagement.services.job.request import RunRequest
    from engagement.services.job.result import RunResult

REFRESH_SECONDS: Final = 10
"""How often a run updates its row. Much more often than `job_runs.VANISHED_AFTER`."""
PAUSE_SECONDS: Final = 30
"""How long to wait after a failed write: waiting for the ledger must cost little."""
SHORT_LOCK_TIMEOUT: Final = timedelta(seconds=1)
"""The lock timeout of a write that a later one repeats."""

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
    "still_due",
)

log = structlog.get_logger("engagement")


class RunLedger(RunListener):
    """Keeps the row of one run.

    Transaction: each method opens one of its own, which must be the outermost, if it writes at all.
    Repeatable: each write has the whole row, so that the next one makes up for a failed one.
    Raises nothing.
    """

    def __init__(self, request: RunRequest, settings: EngagementSettings) -> None:
        self._request = request
        self._lock_timeout = settings.lock_timeout
        self._started_at = self._next_write_at = time.monotonic()
        self._processed = 0
        """How many users the row had when a check ended last."""
        self._has_warned = False

    def run_started(self, progress: RunProgress) -> None:
        self._write(self._row(progress), lock_timeout=SHORT_LOCK_TIMEOUT)

    def still_working(self, progress: RunProgress) -> None:
        """Write how far the run has come, if the last write was a while ago."""
        if time.monotonic() >= self._next_write_at:
            self._write(self._row(progress), lock_timeout=SHORT_LOCK_TIMEOUT)

    def check_ended(self, progress: RunProgress) -> None:
        """Write what the checks have done so far, if that is news and no write has failed."""
        processed = progress.total.processed
        if processed > self._processed and not self._has_warned:
            self._processed = processed
            self._write(self._row(progress), lock_timeout=SHORT_LOCK_TIMEOUT)

    def run_ended(self, progress: RunProgress, result: RunResult) -> None:
        row = self._row(progress)
        row.status, row.failure, row.finished_at = result.status, result.failure, Now()
        row.still_due = result.still_due
        self._write(row, lock_timeout=self._lock_timeout)

    def _row(self, progress: RunProgress) -> EngagementJobRun:
        total = progress.total
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
            checks={name: counts.as_json() for name, counts in progress.checks.items()},
            errors=[failure.as_json() for failure in progress.failures],
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
        except Exception as error:  # noqa: BLE001  no error of the ledger may stop the run
            pause = PAUSE_SECONDS
            self._warn(error)
        self._next_write_at = time.monotonic() + pause

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            log.warning("engagement_ledger_not_written", error=describe(error), exc_info=loggable(error))
        self._has_warned = True


def _put(row: EngagementJobRun) -> None:
    """Insert the row, or update it."""
    EngagementJobRun.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["job_id"], update_fields=_WRITTEN_AGAIN
    )


def _on_a_live_connection(write: partial[None]) -> None:
    """Call `write`, and once more if the connection was lost since its last use."""
    was_connected = connection.connection is not None
    try:
        write()
    except DatabaseError as error:
        # Django has closed the lost connection and opens a new one.
        if not was_connected or error_kind(error) is not ErrorKind.OUTAGE:
            raise
        write()


def _options(request: RunRequest) -> dict[str, object]:
    options: dict[str, object] = {
        "checks": [check.name for check in request.checks_in_order],
        "limit": request.limit,
        "batch_size": request.batch_size,
        "workers": request.workers,
        "allow_large_run": request.allow_large_run,
    }
    if gap := gap_to_clock(request.now, clock=timezone.now()):
        options["ahead_of_clock_seconds"] = round(gap.total_seconds())
    return options
