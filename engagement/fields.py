"""A column for rows that are inserted by the thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    TextField = models.TextField[str, str]
else:
    TextField = models.TextField


class WrittenField(TextField):
    """A column of any type, whose values are in writing already: the text that PostgreSQL reads as that type.

    bulk_create asks the field of every value of every row to convert it, and psycopg to write it.
    Here whoever makes the rows has written them, and what many rows share was written once.
    """

    def __init__(self, *args: Any, column_type: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.column_type = column_type

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "column_type": self.column_type}

    def db_type(self, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002
        return self.column_type

    def get_db_prep_save(self, value: str, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002
        return value
