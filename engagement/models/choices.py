"""What columns may hold: choices, ranges of times, and the CHECKs that also bind other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.db import models

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)


def one_of(column: str, choices: type[models.TextChoices], *, name: str) -> models.CheckConstraint:
    """Return a CHECK that `column` holds one of `choices`."""
    return models.CheckConstraint(condition=models.Q(**{f"{column}__in": choices.values}), name=name)


def times_in_range(prefix: str, *columns: str) -> list[models.CheckConstraint]:
    """Return a CHECK for each of `columns`: a time from 1970 to 2999 in UTC, or NULL.

    PostgreSQL also stores 'infinity' and years that Python's datetime cannot hold.
    """
    return [
        models.CheckConstraint(
            condition=models.Q(**{f"{column}__gte": EARLIEST, f"{column}__lt": LATEST}),
            name=f"{prefix}_{column}_in_range",
        )
        for column in columns
    ]


class Destination(models.TextChoices):
    """The kind of chat that receives a user's messages."""

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
    REPLY = "reply"


class MessageStatus(models.TextChoices):
    """The delivery status of a message."""

    PENDING = "pending"
    SENDING = "sending"
    """A sender has claimed it. Committed before the first byte leaves."""
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The sender could not tell whether it was sent. A receipt or a person resolves it."""


IN_DOUBT: Final = (MessageStatus.SENDING.value, MessageStatus.UNKNOWN.value)
"""The statuses of a message that may be on its way, or may have arrived."""


class RunStatus(models.TextChoices):
    """The status of a run. It stays `running` if the process is killed."""

    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    PARTIAL = "partial", "finished, but some users failed"
    FAILED = "failed", "failed"
    INTERRUPTED = "interrupted", "interrupted"


GOOD: Final = (RunStatus.SUCCEEDED.value, RunStatus.PARTIAL.value)
"""The statuses of a run that processed all due users, even if some of them failed."""
