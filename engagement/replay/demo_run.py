"""What the demonstrations share: an empty database to begin with, and the runs of the daily job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection
from uuid_utils.compat import uuid7

from engagement.models import RunStatus
from engagement.services.job.daily_job import RunRequest, run_daily_job

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.services.job.result import RunResult


class DatabaseNotEmpty(Exception):
    """A demonstration would mix with the rows of other programs."""

    def __init__(self) -> None:
        super().__init__("No demonstration is played, because the database has users, messages or runs.")


class DemonstrationFailed(Exception):
    """A run of the demonstration did not succeed. What was played before it stays."""

    def __init__(self, problem: str) -> None:
        # With the name, because `make admin` has a database of its own.
        flush = f"DATABASE_NAME={connection.settings_dict['NAME']} manage.py flush"
        super().__init__(
            f"{problem.rstrip('.')}. What was played stays; to begin anew, empty the database, accounts too:"
            f" `{flush}`."
        )


def run_demonstration_job(now: datetime) -> RunResult:
    """Run the daily job as of `now`. No safety limit stops it, and the monitor of real runs hears nothing.

    Transaction: as run_daily_job's. Raises DemonstrationFailed.
    """
    request = RunRequest(job_id=uuid7(), now=now, allow_large_run=True, heartbeat=False)
    result = run_daily_job(request=request)
    if result.status is not RunStatus.SUCCEEDED:
        reason = result.failure or "some users could not be moved; the log says why"
        raise DemonstrationFailed(f"The run of {now.date()} failed: {reason}")
    return result
