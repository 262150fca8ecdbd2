"""The addresses of people who were erased, so that they are not written to again. Digests only."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from engagement.models.choices import times_in_range


class SuppressedAddress(models.Model):
    """An address that gets no message it did not ask for: a digest under ENGAGEMENT_SUPPRESSION_KEY."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    digest = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "engagement_suppressed_addresses"
        verbose_name = "suppressed address"
        verbose_name_plural = "suppressed addresses"
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("digest",), name="suppressed_digest_unique"),
            *times_in_range("suppressed", "created_at"),
        )

    def __str__(self) -> str:
        return str(self.id)
