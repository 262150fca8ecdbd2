from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.fields.json import KT
from django.db.models.lookups import IsNull


class Migration(migrations.Migration):
    # Without keeping other programs from writing.
    atomic = False

    dependencies = [
        ("engagement", "0026_undo_run"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="engagementstatetransition",
            index=models.Index(
                KT("metadata__job_id"),
                condition=models.Q(IsNull(KT("metadata__job_id"), rhs=False)),
                name="transition_run_idx",
            ),
        ),
        AddIndexConcurrently(
            model_name="engagementstatetransition",
            index=models.Index(
                KT("metadata__undone_job_id"),
                condition=models.Q(trigger="run_undone"),
                name="transition_undone_run_idx",
            ),
        ),
    ]
