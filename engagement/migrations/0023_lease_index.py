from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0022_doors"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="engagementmessage",
            index=models.Index(
                condition=models.Q(("lease_request_id__isnull", False)),
                fields=["lease_request_id"],
                name="message_lease_idx",
            ),
        ),
    ]
