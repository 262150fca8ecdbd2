"""What the columns with a fixed vocabulary may hold."""

from __future__ import annotations

from typing import Final

from django.db import models


def one_of(column: str, choices: type[models.TextChoices], *, name: str) -> models.CheckConstraint:
    """A CHECK that `column` holds one of `choices`, for the programs that are not Django."""
    return models.CheckConstraint(condition=models.Q(**{f"{column}__in": choices.values}), name=name)


class Destination(models.TextChoices):
    """Where a user's messages go."""

    INDIVIDUAL = "individual", "individual chat"
    GROUP = "group", "group chat"


class MessageType(models.TextChoices):
    """What a message is for."""

    WELCOME = "welcome"
    TIER_UNLOCK = "tier_unlock"
    GOODBYE = "goodbye"
    WEEKLY_REVIEW = "weekly_review"
    REMINDER = "reminder"
    HELP_RESTART = "help_restart"


class MessageStatus(models.TextChoices):
    """What became of a message."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunStatus(models.TextChoices):
    """How a run stands. One whose process vanished stays `running`: nobody is left to say so."""

    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    PARTIAL = "partial", "finished, but some users failed"
    FAILED = "failed", "failed"
    INTERRUPTED = "interrupted", "interrupted"


GOOD: Final = (RunStatus.SUCCEEDED.value, RunStatus.PARTIAL.value)
"""How a run stands that has come to its end: whoever was due has moved, or has failed and was named."""
