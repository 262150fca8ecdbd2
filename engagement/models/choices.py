"""The values of columns with a fixed vocabulary."""

from __future__ import annotations

from typing import Final

from django.db import models


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


class MessageStatus(models.TextChoices):
    """The delivery status of a message."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunStatus(models.TextChoices):
    """The status of a run. It stays `running` if the process is killed."""

    RUNNING = "running", "running"
    SUCCEEDED = "succeeded", "succeeded"
    PARTIAL = "partial", "finished, but some users failed"
    FAILED = "failed", "failed"
    INTERRUPTED = "interrupted", "interrupted"


GOOD: Final = (RunStatus.SUCCEEDED.value, RunStatus.PARTIAL.value)
"""The statuses of a run that processed all due users, even if some of them failed."""
