"""The assistant's tables: columns, constraints, indexes. No rules live here, and no save() overrides."""

from __future__ import annotations

from typing import Final

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Least, Now
from uuid_utils.compat import uuid7

from engagement import lookups  # noqa: F401  registers any_of
from engagement.fields import WrittenField
from engagement.states import State, Trigger


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


class UserProfile(models.Model):
    """A user of the assistant, and how to reach them."""

    user_id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    whatsapp_jid = models.TextField(
        "WhatsApp JID",
        null=True,
        blank=True,
        help_text="Where this user's messages go; without one the user cannot be reached.",
    )
    preferred_destination = models.TextField(
        choices=Destination.choices, default=Destination.INDIVIDUAL, db_default=Destination.INDIVIDUAL
    )
    locale = models.TextField(default="pt-BR", db_default="pt-BR")
    reengagement_opt_out = models.BooleanField(
        "opted out", default=False, db_default=False, help_text="Wants no goodbyes."
    )
    opt_out_changed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the user last opted out or in, as far as the services know.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "user_profiles"
        verbose_name = "user"
        constraints = (one_of("preferred_destination", Destination, name="user_profiles_destination_known"),)
        indexes = (
            # Read by the admin: who has this address, or one that begins so.
            models.Index(fields=("whatsapp_jid",), opclasses=("text_pattern_ops",), name="profile_jid_idx"),
        )
        permissions = (
            ("view_contact", "Can see users' WhatsApp addresses"),
            ("change_opt_out", "Can opt users out and in"),
        )

    def __str__(self) -> str:
        return str(self.user_id)


class UserEngagementState(models.Model):
    """Where one user stands. Moved by `engagement.services.state_machine` alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    user = models.OneToOneField(UserProfile, on_delete=models.CASCADE, related_name="engagement_state")
    state = models.TextField(choices=State.choices, default=State.ACTIVE, db_default=State.ACTIVE)
    last_activity_at = models.DateTimeField(db_default=Now())
    goodbye_sent_at = models.DateTimeField(null=True, blank=True)
    goodbye_expires_at = models.DateTimeField(null=True, blank=True)
    remind_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "user_engagement_states"
        verbose_name = "state"
        constraints = (
            one_of("state", State, name="engagement_state_known"),
            # Without these, no check would ever take the user out of the state again.
            models.CheckConstraint(
                condition=~models.Q(state=State.GOODBYE_SENT)
                | models.Q(goodbye_sent_at__isnull=False, goodbye_expires_at__isnull=False),
                name="goodbye_sent_has_its_dates",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=State.REMIND_LATER) | models.Q(remind_at__isnull=False),
                name="remind_later_has_its_date",
            ),
        )
        indexes = (
            # Read by the check inactivity_14d, which claims in this order, and by its skip counts.
            models.Index(
                fields=("last_activity_at", "user"),
                condition=models.Q(state=State.ACTIVE),
                name="state_active_idx",
            ),
            # Read by the check goodbye_timeout.
            models.Index(
                fields=("goodbye_expires_at", "user"),
                condition=models.Q(state=State.GOODBYE_SENT),
                name="state_goodbye_sent_idx",
            ),
            # Read by the check reminder_due.
            models.Index(
                fields=("remind_at", "user"),
                condition=models.Q(state=State.REMIND_LATER),
                name="state_remind_later_idx",
            ),
        )
        permissions = (("bring_back", "Can bring users back"),)

    def __str__(self) -> str:
        return f"{self.user_id}: {self.state}"


class EngagementStateTransition(models.Model):
    """One move of one user. Append-only: rows are added by the state machine and never changed.

    The state row, which the state machine has locked, proves that the user exists, and the log
    outlives the user; so the column has no foreign-key constraint.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(
        UserProfile,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="engagement_transitions",
    )
    from_state = models.TextField(choices=State.choices)
    to_state = models.TextField(choices=State.choices)
    trigger = models.TextField(choices=Trigger.choices)
    metadata = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "engagement_state_transitions"
        verbose_name = "transition"
        constraints = (
            one_of("from_state", State, name="transition_from_state_known"),
            one_of("to_state", State, name="transition_to_state_known"),
            one_of("trigger", Trigger, name="transition_trigger_known"),
        )
        indexes = (
            # Read by the history of a user: the admin, the explanation, the undoing of a run, and
            # the state machine's question since when somebody has been dormant.
            models.Index(fields=("user", "created_at"), name="transition_user_idx"),
        )

    def __str__(self) -> str:
        return f"{self.user_id}: {self.from_state} -> {self.to_state}"


class MessageInsert(models.Model):
    """The columns with which a row enters the queue; the database has defaults for the others.

    Values are text, and columns few, because the time that bulk_create takes grows with both.
    """

    id = WrittenField(column_type="uuid", primary_key=True)
    user_id = WrittenField(column_type="uuid")
    message_type = WrittenField(column_type="text")
    message_key = WrittenField(column_type="text")
    message_params = WrittenField(column_type="jsonb")
    destination = WrittenField(column_type="text")
    destination_jid = WrittenField(column_type="text")
    scheduled_for = WrittenField(column_type="timestamptz")
    idempotency_key = WrittenField(column_type="text")
    created_at = WrittenField(column_type="timestamptz")

    class Meta:
        managed = False
        db_table = "engagement_message_queue"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.message_type} for {self.user_id}"


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


class EngagementJobRun(models.Model):
    """One run of the daily job: what was asked, and what it did. Written by `engagement.services.ledger`.

    `now` is the instant for which the run asked who is due; all other times are the database's own.
    """

    job_id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    status = models.TextField(
        choices=RunStatus.choices, default=RunStatus.RUNNING, db_default=RunStatus.RUNNING
    )
    now = models.DateTimeField("as of", db_default=Now())
    started_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    processed = models.GeneratedField(
        expression=models.F("succeeded") + models.F("failed"),
        output_field=models.IntegerField(),
        db_persist=True,
    )
    succeeded = models.IntegerField(default=0, db_default=0)
    failed = models.IntegerField(default=0, db_default=0)
    skipped = models.IntegerField(default=0, db_default=0)
    skipped_by_reason = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    checks = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="The counts of each check that was asked for.",
    )
    errors = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="The first users who failed; the log has them all.",
    )
    failure = models.TextField(null=True, blank=True, help_text="Why the run could not go on.")
    options = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    host = models.TextField(default="", db_default="")
    pid = models.IntegerField("process id", null=True, blank=True)
    version = models.TextField(default="", db_default="")

    class Meta:
        db_table = "engagement_job_runs"
        verbose_name = "run"
        constraints = (
            one_of("status", RunStatus, name="job_run_status_known"),
            models.CheckConstraint(
                condition=models.Q(status=RunStatus.RUNNING, finished_at__isnull=True)
                | ~models.Q(status=RunStatus.RUNNING) & models.Q(finished_at__isnull=False),
                name="job_run_finished_unless_running",
            ),
        )
        indexes = (
            # Read by the admin's list, by check_engagement_runs for what happened since the last
            # good run, and by the brake for what is usual.
            models.Index(fields=("-started_at",), name="job_run_started_idx"),
            # Read by check_engagement_runs: the good run that is the freshest.
            models.Index(
                Least("now", "finished_at").desc(),
                condition=models.Q(status__in=GOOD),
                name="job_run_good_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.job_id}: {self.status}"
