from django.contrib.postgres.operations import AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    # Each in a transaction of its own, without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0015_delivery"),
    ]

    operations = [
        *(
            ValidateConstraint(model_name="engagementmessage", name=name)
            for name in (
                "message_type_known",
                "message_status_known",
                "message_claimed_at_in_range",
                "message_claim_expires_at_in_range",
                "message_next_attempt_at_in_range",
                "message_delivered_at_in_range",
                "message_read_at_in_range",
                "message_failed_at_in_range",
            )
        ),
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(
                condition=models.Q(("provider_message_id__isnull", False)),
                fields=["provider_message_id"],
                name="message_provider_id_idx",
            ),
        ),
    ]
