"""The safety limit: a run that would send unusually many goodbyes stops before it moves anyone."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

from django.db import Error as DatabaseError

from engagement.conf import MAX_GOODBYE_SHARE, MAX_GOODBYES
from engagement.selectors import due_users
from engagement.selectors.job_runs import goodbyes_of_good_runs

if TYPE_CHECKING:
    from engagement.conf import EngagementSettings
    from engagement.services.resilience.retries import RetryPolicy

RUNS_REMEMBERED: Final = 30
"""The usual number of goodbyes is the median of this many runs: about a month."""


def has_safety_limit(settings: EngagementSettings) -> bool:
    """Whether the settings have a safety limit."""
    return bool(settings.max_goodbyes or settings.max_goodbye_share)


def reason_to_stop(*, goodbyes: int, settings: EngagementSettings, retries: RetryPolicy) -> str | None:
    """Why a run with so many goodbyes must not move anyone; None if it may.

    Transaction: opens one per query, which must be the outermost, and only reads.
    """
    excess = _beyond_count(goodbyes, settings.max_goodbyes)
    if excess is None and settings.max_goodbye_share:
        excess = _beyond_share(goodbyes, retries.read(due_users.count_active), settings.max_goodbye_share)
    if excess is None:
        return None
    return (
        f"The run would send a goodbye to {excess}{_usual(retries)}. Nobody was moved:"
        " --allow-large-run lets it through, --limit spreads it over several runs."
    )


def _beyond_count(goodbyes: int, most: int) -> str | None:
    if not most or goodbyes <= most:
        return None
    return f"{goodbyes:,} {'user' if goodbyes == 1 else 'users'}, and {MAX_GOODBYES} allows {most:,}"


def _beyond_share(goodbyes: int, active: int, most: Decimal) -> str | None:
    if goodbyes <= most * active:
        return None
    share = Decimal(goodbyes) / max(active, 1)
    return (
        f"{goodbyes:,} of {active:,} active users ({_percent(share)}),"
        f" and {MAX_GOODBYE_SHARE} allows {_percent(most)}"
    )


def _percent(share: Decimal) -> str:
    return f"{100 * float(share):.3g}%"


def _usual(retries: RetryPolicy) -> str:
    try:
        former = retries.read(partial(goodbyes_of_good_runs, count=RUNS_REMEMBERED))
    except DatabaseError:
        # The ledger is not there to tell.
        former = []
    if not former:
        return ""
    # Imported here because few runs need it.
    from statistics import median_low

    return f"; usual is {median_low(former):,}"
