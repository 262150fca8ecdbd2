"""The admin's log: what staff accounts did manually, with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import translation

from engagement.admin.logged_sentences import exported

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

log = structlog.get_logger("engagement")


def record(
    row: Model, sentence: str, *, account: AbstractBaseUser, now: datetime, flag: int = CHANGE
) -> None:
    """Add a line to the admin's log of a row."""
    LogEntry.objects.create(
        user_id=account.pk,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=str(row),
        action_flag=flag,
        change_message=sentence,
        action_time=now,
    )


def record_export(
    model: type[Model],
    *,
    rows: int,
    filters: str,
    is_complete: bool,
    account: AbstractBaseUser,
    now: datetime,
) -> None:
    """Add an export of a list to the admin's log and to the program's."""
    with translation.override("en"):
        name = str(model._meta.verbose_name_plural)  # noqa: SLF001  documented by Django
    log.info(
        "engagement_list_exported",
        account=account.get_username(),
        list=name,
        filters=filters,
        rows=rows,
        complete=is_complete,
    )
    LogEntry.objects.create(
        user_id=account.pk,
        content_type=ContentType.objects.get_for_model(model),
        object_repr=name,
        action_flag=CHANGE,
        change_message=exported(rows=rows, name=name, filters=filters, is_complete=is_complete),
        action_time=now,
    )
