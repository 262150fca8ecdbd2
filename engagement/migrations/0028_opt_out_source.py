from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0027_run_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="userprofile",
            name="opt_out_source",
            field=models.TextField(
                blank=True,
                editable=False,
                help_text="By what the last opt-out or opt-in came: message, support, api, provider or suppression.",
                null=True,
            ),
        ),
    ]
