"""The message queue."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from engagement.models.choices import (
    IN_DOUBT,
    Destination,
    MessageStatus,
    MessageType,
    one_of,
    times_in_range,
)
from engagement.models.users import UserProfile


class EngagementMessage(models.Model):
    """A message for the assistant to send.

    The idempotency key is permanent. It is freed only if the run that queued the message is undone before
    the message is sent. `user` has no foreign-key constraint; EngagementStateTransition explains why.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    message_type = models.TextField(_("message type"), choices=MessageType.choices)
    message_key = models.TextField(_("message key"))
    message_params = models.JSONField(
        _("message params"), default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )
    destination = models.TextField(_("destination"), choices=Destination.choices)
    destination_jid = models.TextField(_("destination JID"))
    scheduled_for = models.DateTimeField(_("scheduled for"), db_default=Now())
    idempotency_key = models.TextField(_("idempotency key"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    user = models.ForeignKey(
        UserProfile,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="engagement_messages",
    )
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    status = models.TextField(
        _("status"),
        choices=MessageStatus.choices,
        default=MessageStatus.PENDING,
        db_default=MessageStatus.PENDING,
    )
    retry_count = models.IntegerField(_("retry count"), default=0, db_default=0)
    error_message = models.TextField(_("error message"), null=True, blank=True)

    # Written by the sender.
    attempt_id = models.UUIDField(_("attempt ID"), null=True, blank=True)
    claimed_at = models.DateTimeField(_("claimed at"), null=True, blank=True)
    claim_expires_at = models.DateTimeField(_("claim expires at"), null=True, blank=True)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    backend = models.TextField(_("backend"), null=True, blank=True)
    provider_message_id = models.TextField(_("provider message ID"), null=True, blank=True)
    delivered_at = models.DateTimeField(_("delivered at"), null=True, blank=True)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True)
    failed_at = models.DateTimeField(_("failed at"), null=True, blank=True)
    error_code = models.TextField(_("error code"), null=True, blank=True)
    outcome_reason = models.TextField(_("outcome reason"), null=True, blank=True)
    lease_request_id = models.UUIDField(
        _("lease request ID"),
        null=True,
        blank=True,
        help_text=_("The request of the API client that leased the message."),
    )

    class Meta:
        db_table = "engagement_message_queue"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = (
            one_of("message_type", MessageType, name="message_type_known"),
            one_of("destination", Destination, name="message_destination_known"),
            one_of("status", MessageStatus, name="message_status_known"),
            *times_in_range("message", "scheduled_for", "sent_at", "created_at"),
            # The only unique constraint besides the primary key, because ignore_conflicts hides all
            # conflicts. unique=True would add a second index to a text column, for LIKE, with no reader.
            models.UniqueConstraint(fields=("idempotency_key",), name="message_idempotency_key_unique"),
            *times_in_range("message", "claimed_at", "claim_expires_at", "next_attempt_at"),
            *times_in_range("message", "delivered_at", "read_at", "failed_at"),
        )
        indexes = (
            # Read by the sender: pending messages that are due, and by the dashboard.
            models.Index(
                Coalesce("next_attempt_at", "scheduled_for"),
                "id",
                condition=models.Q(status=MessageStatus.PENDING),
                name="message_due_idx",
            ),
            # Read by the sender and by check_sending: claims that have expired, and unknown outcomes.
            models.Index(
                fields=("claim_expires_at",),
                condition=models.Q(status__in=IN_DOUBT),
                name="message_in_doubt_idx",
            ),
            # Read by the sender for the daily cap: the people to whom something was sent of late.
            models.Index(
                fields=("claimed_at",),
                condition=models.Q(claimed_at__isnull=False),
                name="message_claimed_idx",
            ),
            # Read by the admin and by explain_engagement: the messages of one user.
            models.Index(fields=("user", "created_at"), name="message_user_idx"),
            # Read by the admin: the newest messages.
            models.Index(fields=("created_at", "id"), name="message_created_idx"),
            # Read by the admin: the number and the list of failed messages. The job queues pending
            # messages only, so this index costs it nothing.
            models.Index(
                fields=("id",), condition=models.Q(status=MessageStatus.FAILED), name="message_failed_idx"
            ),
            # Read by receipts: the message to which a provider gave this id. Not unique: only the
            # provider promises that.
            models.Index(
                fields=("provider_message_id",),
                condition=models.Q(provider_message_id__isnull=False),
                name="message_provider_id_idx",
            ),
            # Read by the HTTP API: the messages of one request for leases.
            models.Index(
                fields=("lease_request_id",),
                condition=models.Q(lease_request_id__isnull=False),
                name="message_lease_idx",
            ),
        )
        permissions = (
            ("cancel_message", "Can cancel pending messages"),
            ("retry_message", "Can queue failed messages again"),
            ("resolve_message", "Can say whether messages with an unknown outcome arrived"),
        )

    def __str__(self) -> str:
        return f"{self.message_type} for {self.user_id}: {self.status}"
