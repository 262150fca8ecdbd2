from datetime import UTC, datetime

import django.contrib.postgres.fields
import django.contrib.postgres.functions
import django.db.models.functions.datetime
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0021_resolve_and_resume"),
    ]

    operations = [
        migrations.AddField(
            model_name="engagementmessage",
            name="lease_request_id",
            field=models.UUIDField(
                blank=True, help_text="The request of the API client that leased the message.", null=True
            ),
        ),
        migrations.CreateModel(
            name="ApiToken",
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
                (
                    "client",
                    models.TextField(
                        help_text="Lower-case letters, digits and hyphens; names the client in logs and lists."
                    ),
                ),
                ("token_digest", models.TextField(editable=False)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(
                            choices=[
                                ("messages", "report messages of users"),
                                ("send", "lease messages and report outcomes"),
                                ("receipts", "report receipts of all messages"),
                                ("explain", "read the explanation of a user"),
                                ("preferences", "opt users out and in"),
                            ]
                        ),
                        size=None,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.TextField(blank=True, editable=False, null=True)),
                (
                    "last_used_at",
                    models.DateTimeField(blank=True, editable=False, help_text="To the hour.", null=True),
                ),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "verbose_name": "API token",
                "verbose_name_plural": "API tokens",
                "db_table": "engagement_api_tokens",
                "permissions": (("manage_api_tokens", "Can make and revoke API tokens"),),
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("token_digest",), name="api_token_digest_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("client__regex", "^[a-z0-9][a-z0-9-]{0,39}$")),
                        name="api_token_client_plain",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "scopes__contained_by",
                                ["messages", "send", "receipts", "explain", "preferences"],
                            )
                        ),
                        name="api_token_scopes_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("created_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("created_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="api_token_created_at_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("last_used_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("last_used_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="api_token_last_used_at_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("revoked_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("revoked_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="api_token_revoked_at_in_range",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="InboundMessage",
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
                ("user_id", models.UUIDField()),
                ("received_at", models.DateTimeField()),
                ("transition_id", models.UUIDField(blank=True, null=True)),
                ("preference", models.TextField(blank=True, null=True)),
                ("reply_key", models.TextField(blank=True, null=True)),
                (
                    "reply_params",
                    models.JSONField(
                        blank=True, db_default=models.Value({}, models.JSONField()), default=dict
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "verbose_name": "inbound message",
                "db_table": "engagement_inbound_messages",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["created_at"], name="inbound_created_idx"),
                    models.Index(fields=["user_id"], name="inbound_user_idx"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="inbound_digest_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("received_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("received_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="inbound_received_at_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("created_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                            ("created_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                        ),
                        name="inbound_created_at_in_range",
                    ),
                ],
            },
        ),
    ]
