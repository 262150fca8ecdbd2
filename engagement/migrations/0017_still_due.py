from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0016_validate_delivery"),
    ]

    operations = [
        migrations.AddField(
            model_name="engagementjobrun",
            name="still_due",
            field=models.IntegerField(
                blank=True, help_text="Due users that the run left; empty if unknown.", null=True
            ),
        ),
    ]
