from datetime import UTC, datetime

import django.contrib.postgres.functions
import django.db.models.functions.datetime
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0023_lease_index"),
    ]

    operations = [
        migrations.CreateModel(
            name="SuppressedAddress",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("digest", models.TextField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "suppressed address",
                "verbose_name_plural": "suppressed addresses",
                "db_table": "engagement_suppressed_addresses",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="suppressed_digest_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("created_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("created_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="suppressed_created_at_in_range",
                    ),
                ],
            },
        ),
    ]
