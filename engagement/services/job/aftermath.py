"""How things stand after a run, for people who read its report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError

from engagement.conf import engagement_settings
from engagement.selectors import due_users
from engagement.services.resilience.transactions import in_transaction
from engagement.states import CHECKS

if TYPE_CHECKING:
    from engagement.services.job.result import RunResult
    from engagement.states import Policy


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Whom a run left where they were, beside those it skipped."""

    still_due: int
    """Beyond the limit, locked by other programs, or behind an interruption: the next run's."""
    not_yet_due: int
    """Active, and not silent for long enough."""


def aftermath_of(result: RunResult) -> Aftermath | None:
    """Count them; None if the database does not answer now: the result must be told all the same.

    Transaction: opens one, which must be the outermost, and only reads.
    """
    settings = engagement_settings()
    try:
        return in_transaction(partial(_count, result, settings.policy), lock_timeout=settings.lock_timeout)
    except DatabaseError:
        return None


def _count(result: RunResult, policy: Policy) -> Aftermath:
    checks = [check for check in CHECKS if check.name in result.checks]
    due = sum(due_users.due(check, now=result.now, policy=policy).count() for check in checks)
    accounted_for = result.processed if result.dry_run else result.failed
    return Aftermath(
        still_due=max(due - accounted_for, 0),
        not_yet_due=sum(
            due_users.count_not_yet_due(check, now=result.now, policy=policy)
            for check in checks
            if check.sends_goodbye
        ),
    )
