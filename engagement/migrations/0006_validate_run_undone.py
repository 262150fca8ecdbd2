from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    # In a transaction of its own: in that of 0005 the table would be locked while its rows are read.

    dependencies = [
        ("engagement", "0005_run_undone"),
    ]

    operations = [
        ValidateConstraint(model_name="engagementstatetransition", name="transition_trigger_known"),
    ]
