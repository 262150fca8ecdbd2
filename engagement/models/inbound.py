"""Messages of users that were processed, so that a repeated one is recognised."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from engagement.models.choices import times_in_range


class InboundMessage(models.Model):
    """A message of a user that has an id, and the reply to it. Never its text.

    `digest` is a keyed digest of the user and the id: an id of WhatsApp contains the phone number.
    `engagement.services.inbound_messages` writes the rows, and deletes them when no repeat can come any more.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    digest = models.TextField()
    user_id = models.UUIDField()
    received_at = models.DateTimeField()
    transition_id = models.UUIDField(null=True, blank=True)
    preference = models.TextField(null=True, blank=True)
    reply_key = models.TextField(null=True, blank=True)
    reply_params = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "engagement_inbound_messages"
        verbose_name = "inbound message"
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("digest",), name="inbound_digest_unique"),
            *times_in_range("inbound", "received_at", "created_at"),
        )
        indexes = (
            # Read by receive_message and purge_engagement_history: the oldest rows.
            models.Index(fields=("created_at",), name="inbound_created_idx"),
            # Read by erase_engagement_user: the messages of one user.
            models.Index(fields=("user_id",), name="inbound_user_idx"),
        )

    def __str__(self) -> str:
        return f"message of {self.user_id} at {self.received_at}"
