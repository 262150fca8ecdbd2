from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("engagement", "0025_number_search"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="engagementjobrun",
            options={"permissions": (("undo_run", "Can undo runs"),), "verbose_name": "run"},
        ),
    ]
