import importlib

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

COLUMNS = importlib.import_module("engagement.migrations.0012_time_ranges").COLUMNS


class Migration(migrations.Migration):
    # Each in a transaction of its own: a long table is read once per constraint, and other programs go on
    # writing.
    atomic = False

    dependencies = [
        ("engagement", "0012_time_ranges"),
    ]

    operations = [
        ValidateConstraint(model_name=model, name=f"{prefix}_{column}_in_range")
        for model, (_, prefix, columns) in COLUMNS.items()
        for column in columns
    ]
