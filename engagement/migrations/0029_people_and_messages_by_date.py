from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0028_opt_out_source"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(fields=["created_at", "id"], name="message_created_idx"),
        ),
        AddIndexConcurrently(
            model_name="userengagementstate",
            index=models.Index(fields=["last_activity_at"], name="state_last_activity_idx"),
        ),
        AddIndexConcurrently(
            model_name="userengagementstate",
            index=models.Index(
                condition=models.Q(("state", "active"), _negated=True),
                fields=["state", "last_activity_at", "user"],
                name="state_others_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="userprofile",
            index=models.Index(
                condition=models.Q(("reengagement_opt_out", True)),
                fields=["opt_out_changed_at", "user_id"],
                name="profile_opted_out_idx",
            ),
        ),
    ]
