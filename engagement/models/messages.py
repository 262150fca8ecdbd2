"""The message queue."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from engagement.models.choices import Destination, MessageStatus, MessageType, one_of
from engagement.models.users import UserProfile


class EngagementMessage(models.Model):
    """A message to be sent by the assistant.

    Its idempotency key is taken for ever, unless the run that queued it is undone before it is sent.
    No foreign-key constraint, for the reasons given at EngagementStateTransition.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    message_type = models.TextField(choices=MessageType.choices)
    message_key = models.TextField()
    message_params = models.JSONField(
        default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )
    destination = models.TextField(choices=Destination.choices)
    destination_jid = models.TextField("destination JID")
    scheduled_for = models.DateTimeField(db_default=Now())
    idempotency_key = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    user = models.ForeignKey(
        UserProfile,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="engagement_messages",
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    status = models.TextField(
        choices=MessageStatus.choices, default=MessageStatus.PENDING, db_default=MessageStatus.PENDING
    )
    retry_count = models.IntegerField(default=0, db_default=0)
    error_message = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "engagement_message_queue"
        verbose_name = "message"
        constraints = (
            one_of("message_type", MessageType, name="message_type_known"),
            one_of("destination", Destination, name="message_destination_known"),
            one_of("status", MessageStatus, name="message_status_known"),
            # The one unique constraint of the table beside its key: ignore_conflicts hides them all.
            # Not unique=True, which on a text column brings a LIKE index that nothing reads.
            models.UniqueConstraint(fields=("idempotency_key",), name="message_idempotency_key_unique"),
        )
        indexes = (
            # Read by the sender: what is to be sent by now.
            models.Index(
                fields=("scheduled_for",),
                condition=models.Q(status=MessageStatus.PENDING),
                name="message_pending_idx",
            ),
            # Read by the admin and the explanation: the messages of a user.
            models.Index(fields=("user", "created_at"), name="message_user_idx"),
            # Read by the admin: how many messages failed, and which. The job adds nothing to it, since
            # what it queues is pending.
            models.Index(
                fields=("id",), condition=models.Q(status=MessageStatus.FAILED), name="message_failed_idx"
            ),
        )
        permissions = (
            ("cancel_message", "Can cancel pending messages"),
            ("retry_message", "Can queue failed messages again"),
        )

    def __str__(self) -> str:
        return f"{self.message_type} for {self.user_id}: {self.status}"
