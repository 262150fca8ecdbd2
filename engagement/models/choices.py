"""What columns may hold: choices, ranges of times, and the CHECKs that also bind other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

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

    INDIVIDUAL = "individual", _("individual chat")
    GROUP = "group", _("group chat")


class MessageType(models.TextChoices):
    """The purpose of a message."""

    WELCOME = "welcome", pgettext_lazy("message", "Welcome")
    TIER_UNLOCK = "tier_unlock", pgettext_lazy("message", "Tier Unlock")
    GOODBYE = "goodbye", pgettext_lazy("message", "Goodbye")
    WEEKLY_REVIEW = "weekly_review", pgettext_lazy("message", "Weekly Review")
    REMINDER = "reminder", pgettext_lazy("message", "Reminder")
    HELP_RESTART = "help_restart", pgettext_lazy("message", "Help Restart")
    REPLY = "reply", pgettext_lazy("message", "Reply")


class MessageStatus(models.TextChoices):
    """The delivery status of a message."""

    PENDING = "pending", pgettext_lazy("message", "Pending")
    SENDING = "sending", pgettext_lazy("message", "Sending")
    """A sender has claimed it. Committed before the first byte leaves."""
    SENT = "sent", pgettext_lazy("message", "Sent")
    FAILED = "failed", pgettext_lazy("message", "Failed")
    CANCELLED = "cancelled", pgettext_lazy("message", "Cancelled")
    UNKNOWN = "unknown", pgettext_lazy("message", "Unknown")
    """The sender could not tell whether it was sent. A receipt or a person resolves it."""


IN_DOUBT: Final = (MessageStatus.SENDING.value, MessageStatus.UNKNOWN.value)
"""The statuses of a message that may be on its way, or may have arrived."""


class RunStatus(models.TextChoices):
    """The status of a run. It stays `running` if the process is killed."""

    RUNNING = "running", pgettext_lazy("run", "running")
    SUCCEEDED = "succeeded", pgettext_lazy("run", "succeeded")
    PARTIAL = "partial", pgettext_lazy("run", "finished, but some users failed")
    FAILED = "failed", pgettext_lazy("run", "failed")
    INTERRUPTED = "interrupted", pgettext_lazy("run", "interrupted")


GOOD: Final = (RunStatus.SUCCEEDED.value, RunStatus.PARTIAL.value)
"""The statuses of a run that processed all due users, even if some of them failed."""
