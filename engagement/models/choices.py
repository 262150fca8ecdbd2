"""What columns may hold: choices, ranges of times, and the CHECKs that enforce them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.db import models

FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME: Final = datetime(3000, 1, 1, tzinfo=UTC)
"""The times that tables may hold lie from FIRST_INSTANT to just before END_OF_TIME."""


def one_of(column: str, choices: type[models.TextChoices], *, name: str) -> models.CheckConstraint:
    """A CHECK that `column` holds one of `choices`, for the programs that are not Django."""
    return models.CheckConstraint(condition=models.Q(**{f"{column}__in": choices.values}), name=name)


def within_range(prefix: str, *columns: str) -> tuple[models.CheckConstraint, ...]:
    """A CHECK for each column that its time lies in a range that every program can compute with.

    PostgreSQL also stores 'infinity' and years before 1, which Python cannot read.
    """
    return tuple(
        models.CheckConstraint(
            condition=models.Q(**{f"{column}__gte": FIRST_INSTANT, f"{column}__lt": END_OF_TIME}),
            name=f"{prefix}_{column}_in_range",
        )
        for column in columns
    )


class Destination(models.TextChoices):
    """The kind of chat that a user's messages go to."""

    INDIVIDUAL = "individual", "individual chat"
    GROUP = "group", "group chat"


class MessageType(models.TextChoices):
    """The purpose of a message."""

    WELCOME = "welcome"
    TIER_UNLOCK = "tier_unlock"
    GOODBYE = "goodbye"
    WEEKLY_REVIEW = "weekly_review"
    REMINDER = "reminder"
    HELP_RESTART = "help_restart"


class MessageStatus(models.TextChoices):
    """What has happened to a message."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunStatus(models.TextChoices):
    """The status of a run. If its process is killed it stays `running`."""

    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    PARTIAL = "partial", "finished, but some users failed"
    FAILED = "failed", "failed"
    INTERRUPTED = "interrupted", "interrupted"


GOOD: Final = (RunStatus.SUCCEEDED.value, RunStatus.PARTIAL.value)
"""The statuses of a run that reached its end: all due users were moved, or failed and were reported."""
