from datetime import UTC, datetime

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

TABLE = "engagement_message_queue"
TYPES = ("welcome", "tier_unlock", "goodbye", "weekly_review", "reminder", "help_restart", "reply")
STATUSES = ("pending", "sending", "sent", "failed", "cancelled", "unknown")
TIMES = ("claimed_at", "claim_expires_at", "next_attempt_at", "delivered_at", "read_at", "failed_at")


def widened(column: str, name: str, values: tuple[str, ...]) -> migrations.SeparateDatabaseAndState:
    """Replace a CHECK by one that allows more values; on the way back rows may hold them, so it stays."""
    condition = models.Q(**{f"{column}__in": values})
    listed = ", ".join(f"'{value}'" for value in values)
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f"ALTER TABLE {TABLE} DROP CONSTRAINT {name},"
                f" ADD CONSTRAINT {name} CHECK ({column} IN ({listed})) NOT VALID",
                migrations.RunSQL.noop,
            )
        ],
        state_operations=[
            migrations.RemoveConstraint(model_name="engagementmessage", name=name),
            migrations.AddConstraint(
                model_name="engagementmessage",
                constraint=models.CheckConstraint(condition=condition, name=name),
            ),
        ],
    )


def in_range(column: str) -> AddConstraintNotValid:
    within = {
        f"{column}__gte": datetime(1970, 1, 1, tzinfo=UTC),
        f"{column}__lt": datetime(3000, 1, 1, tzinfo=UTC),
    }
    return AddConstraintNotValid(
        model_name="engagementmessage",
        constraint=models.CheckConstraint(condition=models.Q(**within), name=f"message_{column}_in_range"),
    )


class Migration(migrations.Migration):
    # Columns are nullable and added without rewriting the table. The next migrations validate the
    # constraints and build the index.

    dependencies = [
        ("engagement", "0014_help_texts"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '10s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="userprofile",
            name="time_zone",
            field=models.TextField(
                blank=True,
                help_text="Where it is day or night for this user, such as America/Bahia.",
                null=True,
            ),
        ),
        *(
            migrations.AddField(
                model_name="engagementmessage", name=name, field=models.DateTimeField(blank=True, null=True)
            )
            for name in TIMES
        ),
        *(
            migrations.AddField(
                model_name="engagementmessage", name=name, field=models.TextField(blank=True, null=True)
            )
            for name in ("backend", "error_code", "outcome_reason")
        ),
        migrations.AddField(
            model_name="engagementmessage",
            name="attempt_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="engagementmessage",
            name="provider_message_id",
            field=models.TextField(blank=True, null=True, verbose_name="provider message ID"),
        ),
        migrations.AlterField(
            model_name="engagementmessage",
            name="message_type",
            field=models.TextField(
                choices=[
                    ("welcome", "Welcome"),
                    ("tier_unlock", "Tier Unlock"),
                    ("goodbye", "Goodbye"),
                    ("weekly_review", "Weekly Review"),
                    ("reminder", "Reminder"),
                    ("help_restart", "Help Restart"),
                    ("reply", "Reply"),
                ]
            ),
        ),
        migrations.AlterField(
            model_name="engagementmessage",
            name="status",
            field=models.TextField(
                choices=[
                    ("pending", "Pending"),
                    ("sending", "Sending"),
                    ("sent", "Sent"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("unknown", "Unknown"),
                ],
                db_default="pending",
                default="pending",
            ),
        ),
        widened("message_type", "message_type_known", TYPES),
        widened("status", "message_status_known", STATUSES),
        *map(in_range, TIMES),
    ]
