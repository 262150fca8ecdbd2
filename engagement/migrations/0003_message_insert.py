from django.db import migrations

from engagement.fields import WrittenField


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0002_constraints_and_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="MessageInsert",
            fields=[
                ("id", WrittenField(column_type="uuid", primary_key=True, serialize=False)),
                ("user_id", WrittenField(column_type="uuid")),
                ("message_type", WrittenField(column_type="text")),
                ("message_key", WrittenField(column_type="text")),
                ("message_params", WrittenField(column_type="jsonb")),
                ("destination", WrittenField(column_type="text")),
                ("destination_jid", WrittenField(column_type="text")),
                ("scheduled_for", WrittenField(column_type="timestamptz")),
                ("idempotency_key", WrittenField(column_type="text")),
                ("created_at", WrittenField(column_type="timestamptz")),
            ],
            options={
                "db_table": "engagement_message_queue",
                "managed": False,
            },
        ),
    ]
