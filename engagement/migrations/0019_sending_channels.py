from datetime import UTC, datetime

import django.contrib.postgres.functions
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0018_skipped_users"),
    ]

    operations = [
        migrations.CreateModel(
            name="SendingChannel",
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
                ("backend", models.TextField()),
                ("scope", models.TextField(blank=True, db_default="", default="")),
                ("paused_until", models.DateTimeField(blank=True, null=True)),
                ("pause_reason", models.TextField(blank=True, null=True)),
                (
                    "next_slot_at",
                    models.DateTimeField(
                        blank=True, help_text="Before this time no further message is sent.", null=True
                    ),
                ),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "sending channel",
                "db_table": "engagement_sending_channels",
                "default_permissions": ("view",),
            },
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.UniqueConstraint(
                fields=("backend", "scope"), name="channel_backend_scope_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("paused_until__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                    ("paused_until__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="channel_paused_until_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("next_slot_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                    ("next_slot_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="channel_next_slot_at_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("updated_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                    ("updated_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="channel_updated_at_in_range",
            ),
        ),
    ]
