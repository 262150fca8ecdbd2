from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

# Model, prefix of the names of its constraints, columns.
TIMES = (
    ("userprofile", "profile", ("opt_out_changed_at", "created_at", "updated_at")),
    ("userengagementstate", "state", ("last_activity_at", "goodbye_sent_at", "goodbye_expires_at")),
    ("userengagementstate", "state", ("remind_at", "created_at", "updated_at")),
    ("engagementstatetransition", "transition", ("created_at",)),
    ("engagementmessage", "message", ("scheduled_for", "sent_at", "created_at")),
    ("engagementjobrun", "job_run", ("now", "started_at", "last_seen_at", "finished_at")),
)


class Migration(migrations.Migration):
    # In a transaction of its own: in that of 0012 the tables would be locked while their rows are read.

    dependencies = [
        ("engagement", "0012_times_in_range"),
    ]

    operations = [
        ValidateConstraint(model_name=model_name, name=f"{prefix}_{column}_in_range")
        for model_name, prefix, columns in TIMES
        for column in columns
    ]
