import django.db.models.functions.comparison
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Each in a transaction of its own, without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0019_sending_channels"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(
                django.db.models.functions.comparison.Coalesce("next_attempt_at", "scheduled_for"),
                models.F("id"),
                condition=models.Q(("status", "pending")),
                name="message_due_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(
                condition=models.Q(("status__in", ("sending", "unknown"))),
                fields=["claim_expires_at"],
                name="message_in_doubt_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(
                condition=models.Q(("claimed_at__isnull", False)),
                fields=["claimed_at"],
                name="message_claimed_idx",
            ),
        ),
        RemoveIndexConcurrently(
            model_name="engagementmessage",
            name="message_pending_idx",
        ),
    ]
