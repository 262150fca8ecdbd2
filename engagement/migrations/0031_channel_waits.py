from datetime import UTC, datetime

from django.db import migrations, models


class Migration(migrations.Migration):
    # The table has a few rows.
    dependencies = [
        ("engagement", "0030_verbose_names"),
    ]

    operations = [
        migrations.AddField(
            model_name="sendingchannel",
            name="slowed_until",
            field=models.DateTimeField(
                blank=True,
                help_text="How long a refusal has asked to wait.",
                null=True,
                verbose_name="slowed until",
            ),
        ),
        migrations.AddField(
            model_name="sendingchannel",
            name="resumed_at",
            field=models.DateTimeField(
                blank=True,
                help_text=(
                    "When a person last ended its pauses. Failures from before do not pause it again."
                ),
                null=True,
                verbose_name="resumed at",
            ),
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("slowed_until__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                    ("slowed_until__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="channel_slowed_until_in_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="sendingchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("resumed_at__gte", datetime(1970, 1, 1, 0, 0, tzinfo=UTC)),
                    ("resumed_at__lt", datetime(3000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="channel_resumed_at_in_range",
            ),
        ),
    ]
