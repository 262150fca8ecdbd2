from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.contrib.postgres.operations import AddConstraintNotValid
from django.core.management import CommandError
from django.db import migrations, models

if TYPE_CHECKING:
    from django.apps.registry import Apps
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)

# Model, prefix of the names of its constraints, columns.
TIMES = (
    ("userprofile", "profile", ("opt_out_changed_at", "created_at", "updated_at")),
    ("userengagementstate", "state", ("last_activity_at", "goodbye_sent_at", "goodbye_expires_at")),
    ("userengagementstate", "state", ("remind_at", "created_at", "updated_at")),
    ("engagementstatetransition", "transition", ("created_at",)),
    ("engagementmessage", "message", ("scheduled_for", "sent_at", "created_at")),
    ("engagementjobrun", "job_run", ("now", "started_at", "last_seen_at", "finished_at")),
)

PROBLEM = (
    "{table}.{column} is before 1970 or after 2999 in {count} row(s). Correct this with: "
    "UPDATE {table} SET {column} = least(greatest({column}, '1970-01-01Z'), '2999-12-31Z')"
    " WHERE {column} < '1970-01-01Z' OR {column} >= '3000-01-01Z';"
)


def refuse_times_out_of_range(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Raise CommandError with a line for each column that has such times, and the SQL that corrects them."""
    problems = []
    for model_name, _, columns in TIMES:
        model = apps.get_model("engagement", model_name)
        rows: models.QuerySet[models.Model] = models.QuerySet(model, using=schema_editor.connection.alias)
        counts = {f"{column}_count": models.Count("pk", filter=out_of_range(column)) for column in columns}
        found = zip(columns, rows.aggregate(**counts).values(), strict=True)
        problems += [
            PROBLEM.format(table=rows.query.get_meta().db_table, column=column, count=count)
            for column, count in found
            if count
        ]
    if problems:
        raise CommandError("\n".join(problems))


def out_of_range(column: str) -> models.Q:
    return models.Q((f"{column}__lt", EARLIEST)) | models.Q((f"{column}__gte", LATEST))


def in_range(column: str) -> models.Q:
    return models.Q((f"{column}__gte", EARLIEST), (f"{column}__lt", LATEST))


class Migration(migrations.Migration):
    # The rows are counted before any lock is taken. A NOT VALID constraint needs its table for an instant
    # only, and the next migration reads the rows without blocking writers. The time limit keeps other
    # programs from waiting while this one waits for a lock.

    dependencies = [
        ("engagement", "0011_labels"),
    ]

    operations = [
        migrations.RunPython(refuse_times_out_of_range, migrations.RunPython.noop),
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        *(
            AddConstraintNotValid(
                model_name=model_name,
                constraint=models.CheckConstraint(
                    condition=in_range(column), name=f"{prefix}_{column}_in_range"
                ),
            )
            for model_name, prefix, columns in TIMES
            for column in columns
        ),
        # The operations run in reverse order on the way back.
        migrations.RunSQL(migrations.RunSQL.noop, "SET LOCAL lock_timeout = '3s'"),
    ]
