"""What the commands that move users tell the shell (design, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement.management.signals import EXIT_CODE_OF_SIGNALS
from engagement.services.job.result import JobStatus

if TYPE_CHECKING:
    from engagement.services.resilience.retries import StopRequest

EXIT_CODES: Final = {JobStatus.SUCCEEDED: 0, JobStatus.FAILED: 1, JobStatus.PARTIAL: 3}
EXIT_SAFETY_LIMIT: Final = 4
"""The run was too large to be let through unasked."""


def exit_code(status: JobStatus, stop: StopRequest) -> int:
    """The code for a run that ended so, and was or was not asked to stop."""
    if status is JobStatus.INTERRUPTED:
        return EXIT_CODE_OF_SIGNALS + (stop.signal_number or 0)
    return EXIT_CODES[status]
