"""What is asked of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engagement.states import CHECKS, Check, require_aware

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is asked of a run."""

    job_id: UUID
    now: datetime
    checks: Sequence[Check] = CHECKS
    limit: int | None = None
    """The most users that the whole run may move."""
    batch_size: int | None = None
    """Users per transaction; None for the setting."""
    workers: int | None = None
    """Threads that share the work; None for as many as pay."""
    dry_run: bool = False
    allow_large_run: bool = False
    """Ignore the safety limit."""
    heartbeat: bool = True
    """Ping ENGAGEMENT_HEARTBEAT_URL; a demonstration does not."""

    def __post_init__(self) -> None:
        """Raise ValueError for a naive `now` and for numbers below 1."""
        require_aware(self.now)
        for name in ("limit", "batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}.")

    @property
    def checks_in_order(self) -> list[Check]:
        """The checks that were asked for, in the order in which a run asks them."""
        return [check for check in CHECKS if check in self.checks]
