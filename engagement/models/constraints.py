"""CHECK constraints that several tables need. They also bind the programs that do not use Django."""

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
