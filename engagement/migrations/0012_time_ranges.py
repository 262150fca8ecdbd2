from datetime import UTC, datetime

from django.apps.registry import Apps
from django.contrib.postgres.operations import AddConstraintNotValid
from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# In the order in which all writers lock: states, profiles, messages. By model: table, prefix of the
# constraints' names, columns.
COLUMNS = {
    "userengagementstate": (
        "user_engagement_states",
        "state",
        (
            "last_activity_at",
            "goodbye_sent_at",
            "goodbye_expires_at",
            "remind_at",
            "created_at",
            "updated_at",
        ),
    ),
    "userprofile": ("user_profiles", "profile", ("opt_out_changed_at", "created_at", "updated_at")),
    "engagementmessage": (
        "engagement_message_queue",
        "message",
        ("scheduled_for", "sent_at", "created_at"),
    ),
    "engagementstatetransition": ("engagement_state_transitions", "transition", ("created_at",)),
    "engagementjobrun": (
        "engagement_job_runs",
        "job_run",
        ("now", "started_at", "last_seen_at", "finished_at"),
    ),
}


def refuse_times_outside_the_range(_apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Say which rows the constraints would refuse, and the SQL that corrects them."""
    found = 0
    corrections = []
    with schema_editor.connection.cursor() as cursor:
        for table, _, columns in COLUMNS.values():
            outside = {
                column: f"NOT ({column} >= '1970-01-01Z' AND {column} < '3000-01-01Z')" for column in columns
            }
            counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in outside.values())
            cursor.execute(f"SELECT {counts} FROM {table}")  # noqa: S608  the names are ours
            for (column, condition), count in zip(outside.items(), cursor.fetchone(), strict=True):
                if count:
                    found += count
                    corrections.append(
                        f"UPDATE {table} SET {column} ="  # noqa: S608
                        f" least(greatest({column}, '1970-01-01Z'), '2999-12-31Z') WHERE {condition};"
                    )
    if corrections:
        raise CommandError(
            f"{found} times lie outside the years 1970 to 2999, which no table may hold any more."
            f" Correct them, for example with this SQL, and migrate again: {' '.join(corrections)}"
        )


def constraint(column: str, name: str) -> models.CheckConstraint:
    within = {
        f"{column}__gte": datetime(1970, 1, 1, tzinfo=UTC),
        f"{column}__lt": datetime(3000, 1, 1, tzinfo=UTC),
    }
    return models.CheckConstraint(condition=models.Q(**within), name=name)


class Migration(migrations.Migration):
    # The constraints hold for new rows at once. The next migration reads the old ones, without keeping
    # other programs from writing.

    dependencies = [
        ("engagement", "0011_labels"),
    ]

    operations = [
        # Rather fail than queue up behind a long transaction, with all other programs waiting behind.
        migrations.RunSQL("SET LOCAL lock_timeout = '10s'", migrations.RunSQL.noop),
        migrations.RunPython(refuse_times_outside_the_range, migrations.RunPython.noop),
        *(
            AddConstraintNotValid(
                model_name=model, constraint=constraint(column, f"{prefix}_{column}_in_range")
            )
            for model, (_, prefix, columns) in COLUMNS.items()
            for column in columns
        ),
    ]
