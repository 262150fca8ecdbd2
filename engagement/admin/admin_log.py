"""The admin's log: what staff accounts did manually, with their names.

Its sentences are stored in English, whoever acts, and shown in the language of the reader: `english` writes a
sentence, `shown_sentence` finds out by its form which one it is. A sentence of another program is shown as it
is.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import Error as DatabaseError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop, ngettext, override

from engagement.formatting import number_text
from engagement.models import MessageType
from engagement.selectors.user_search import MARKED_AS_ACTIVE
from engagement.services.resilience.retries import retry_outages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model
    from django.http import HttpRequest

log = structlog.get_logger("engagement")


def ngettext_noop(one: str, many: str) -> tuple[str, str]:
    """Mark both forms of a sentence with a `{number}` for translation."""
    return one, many


OPTED_OUT: Final = gettext_noop("Opted out.")
OPTED_OUT_CANCELLED: Final = ngettext_noop(
    "Opted out; {number} pending message cancelled.", "Opted out; {number} pending messages cancelled."
)
OPTED_IN: Final = gettext_noop("Opted in.")
CANCELLED_ALL: Final = ngettext_noop(
    "Cancelled {number} pending message.", "Cancelled {number} pending messages."
)
CANCELLED: Final = gettext_noop("Cancelled message {id} ({type}).")
RETRIED: Final = gettext_noop("Retried message {id} ({type}).")
ARRIVED: Final = gettext_noop("Resolved as arrived: message {id} ({type}).")
NOT_ARRIVED: Final = gettext_noop("Resolved as not arrived: message {id} ({type}).")
RESUMED: Final = gettext_noop("Resumed sending by {backend}.")
RUN_UNDONE: Final = ngettext_noop(
    "Undone for {number} user; unsent goodbyes cancelled: {cancelled}.",
    "Undone for {number} users; unsent goodbyes cancelled: {cancelled}.",
)
EXPORTED: Final = ngettext_noop(
    "Exported {number} row of the list {list}.", "Exported {number} rows of the list {list}."
)
EXPORTED_SOME: Final = ngettext_noop(
    "Exported {number} row of the list {list}. {filters}",
    "Exported {number} rows of the list {list}. {filters}",
)
"""The filters stay as they are in the log: in English."""
INTERRUPTED: Final = gettext_noop("The export was interrupted.")
"""Follows one of the sentences of an export."""
TOKEN_MADE: Final = gettext_noop("Made.")
TOKEN_REVOKED: Final = gettext_noop("Revoked.")
LINK_MADE: Final = gettext_noop("Made a one-time link.")
LINK_SENT: Final = gettext_noop("Sent a one-time link by mail.")

SENTENCES: Final = (
    MARKED_AS_ACTIVE,
    OPTED_OUT,
    OPTED_OUT_CANCELLED,
    OPTED_IN,
    CANCELLED_ALL,
    CANCELLED,
    RETRIED,
    ARRIVED,
    NOT_ARRIVED,
    RESUMED,
    RUN_UNDONE,
    EXPORTED,
    EXPORTED_SOME,
    TOKEN_MADE,
    TOKEN_REVOKED,
    LINK_MADE,
    LINK_SENT,
)

_COUNTS: Final = ("number", "cancelled")
_PLACES: Final = {
    **dict.fromkeys(_COUNTS, r"\d[\d,]{0,20}"),
    "id": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "list": r"[^.]+?",
}
"""What a place of a sentence may contain, as a regular expression; the others may contain anything."""


def account_of(request: HttpRequest) -> AbstractBaseUser:
    """The staff account of a request: the admin admits only accounts that are logged in."""
    return cast("AbstractBaseUser", request.user)


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
    """Add an export of a list to the program's log and, if the database can be reached, to the admin's."""
    with override("en"):
        name = str(model._meta.verbose_name_plural)  # noqa: SLF001  documented by Django
    log.info(
        "engagement_list_exported",
        account=account.get_username(),
        list=name,
        filters=filters,
        rows=rows,
        complete=is_complete,
    )

    def add() -> None:
        LogEntry.objects.create(
            user_id=account.pk,
            content_type=ContentType.objects.get_for_model(model),
            object_repr=name,
            action_flag=CHANGE,
            change_message=exported(rows=rows, name=name, filters=filters, is_complete=is_complete),
            action_time=now,
        )

    with suppress(DatabaseError):
        # After an outage the export has waited long enough.
        retry_outages(add) if is_complete else add()


def exported(*, rows: int, name: str, filters: str, is_complete: bool) -> str:
    """The sentences of an export as the log stores them. The name of the list is in English."""
    sentence = EXPORTED_SOME if filters else EXPORTED
    text = english(sentence, number=rows, list=name, filters=filters)
    return text if is_complete else f"{text} {INTERRUPTED}"


def english(sentence: str | tuple[str, str], *, number: int = 1, **values: object) -> str:
    """The sentence as the log stores it."""
    template = sentence if isinstance(sentence, str) else sentence[number != 1]
    with override("en"):
        shown = {name: _shown_value(value) for name, value in values.items()}
        return template.format(number=number_text(number), **shown)


def _shown_value(value: object) -> str:
    return number_text(value) if isinstance(value, int) else str(value)


def shown_sentence(stored: str, *, show_message: Callable[[str], str] = str) -> str:
    """A stored sentence in the active language. `show_message` shows the id of a message, perhaps as HTML."""
    before, interrupted, after = stored.rpartition(f" {INTERRUPTED}")
    if interrupted and not after:
        return f"{shown_sentence(before)} {gettext(INTERRUPTED)}"
    for pattern, sentence in _patterns():
        if found := pattern.fullmatch(stored):
            return _translated(sentence, found.groupdict(), show_message=show_message)
    return stored


def _translated(
    sentence: str | tuple[str, str], values: dict[str, str], *, show_message: Callable[[str], str]
) -> str:
    counts = {name: int(values[name].replace(",", "")) for name in _COUNTS if name in values}
    values |= {name: number_text(count) for name, count in counts.items()}
    if "id" in values:
        values["id"] = show_message(values["id"])
    if name := values.get("list"):
        values["list"] = gettext(name)
    if values.get("type") in MessageType.values:
        values["type"] = str(MessageType(values["type"]).label).lower()
    template = gettext(sentence) if isinstance(sentence, str) else ngettext(*sentence, counts["number"])
    is_html = any(isinstance(value, SafeString) for value in values.values())
    return format_html(template, **values) if is_html else template.format(**values)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str | tuple[str, str]], ...]:
    return tuple(_all_patterns())


def _all_patterns() -> Iterator[tuple[re.Pattern[str], str | tuple[str, str]]]:
    for sentence in SENTENCES:
        for form in (sentence,) if isinstance(sentence, str) else sentence:
            pattern = re.sub(r"\\\{(\w+)\\\}", _group, re.escape(form))
            yield re.compile(pattern, re.DOTALL), sentence


def _group(place: re.Match[str]) -> str:
    return f"(?P<{place[1]}>{_PLACES.get(place[1], '.+?')})"
