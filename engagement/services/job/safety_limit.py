"""The brake: a run that would say unusually many goodbyes stops before it moves anyone."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from django.db import Error as DatabaseError

from engagement.conf import MAX_GOODBYE_SHARE, MAX_GOODBYES
from engagement.selectors import due_users
from engagement.selectors.job_runs import goodbyes_of_good_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from engagement.conf import EngagementSettings

T = TypeVar("T")

RUNS_REMEMBERED: Final = 30
"""From how many runs the usual number of goodbyes is told: about a month."""


class Ask(Protocol):
    """Calls what reads from the database, in a transaction."""

    def __call__(self, read: Callable[[], T]) -> T: ...


def is_on(settings: EngagementSettings) -> bool:
    """Whether there is any limit to keep."""
    return bool(settings.max_goodbyes or settings.max_goodbye_share)


def reason_to_stop(*, goodbyes: int, settings: EngagementSettings, ask: Ask) -> str | None:
    """Why a run with so many goodbyes must not move anyone; None if it may.

    Transaction: none; `ask` opens one for each question. Only reads.
    """
    excess = _beyond_count(goodbyes, settings.max_goodbyes)
    if excess is None and settings.max_goodbye_share:
        excess = _beyond_share(goodbyes, ask(due_users.count_active), settings.max_goodbye_share)
    if excess is None:
        return None
    return (
        f"The run would say goodbye to {excess}{_usual(ask)}. Nobody was moved:"
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


def _usual(ask: Ask) -> str:
    try:
        former = ask(partial(goodbyes_of_good_runs, count=RUNS_REMEMBERED))
    except DatabaseError:
        # Without a ledger nobody knows.
        former = []
    if not former:
        return ""
    # Imported here: few runs need it.
    from statistics import median_low

    return f"; usual is {median_low(former):,}"
