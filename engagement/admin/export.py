"""The chosen rows of a list as CSV, for a spreadsheet: what the list shows, and no more."""

from __future__ import annotations

import csv
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.utils import label_for_field, lookup_field
from django.http import HttpResponse
from django.utils.html import strip_tags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would take for a formula what begins so."""

BYTE_ORDER_MARK: Final = "\ufeff"


def as_csv(model_admin: ModelAdmin[Any], request: HttpRequest, rows: Iterable[Any]) -> HttpResponse:
    """A file with the columns that the list shows to this person, masked as they are there."""
    name = model_admin.opts.verbose_name_plural
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
    columns = [column for column in model_admin.get_list_display(request) if column != "action_checkbox"]
    # Without it Excel takes the text for another encoding.
    response.write(BYTE_ORDER_MARK)
    writer = csv.writer(response)
    writer.writerow(label_for_field(column, model_admin.model, model_admin) for column in columns)
    writer.writerows([_cell(column, row, model_admin) for column in columns] for row in rows)
    return response


def _cell(column: Any, row: Any, model_admin: ModelAdmin[Any]) -> str:
    value = lookup_field(column, row, model_admin)[2]
    if isinstance(value, datetime):
        return value.isoformat()
    text = "" if value is None else strip_tags(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text
