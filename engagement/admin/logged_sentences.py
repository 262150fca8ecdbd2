"""The sentences of the admin's log: stored in English, whoever acts, and shown in the language of the reader.

`english` writes a sentence, `shown_sentence` finds out by its form which one it is. A sentence of another
program is shown as it is.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext, gettext_noop, ngettext, override

from engagement.formatting import number_text
from engagement.models import MessageType
from engagement.selectors.user_search import MARKED_AS_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterator


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
RUN_UNDONE: Final = gettext_noop("Undone for {number} users; {cancelled} unsent goodbyes cancelled.")
EXPORTED: Final = gettext_noop("Exported {number} rows of the list {list}.")
EXPORTED_SOME: Final = gettext_noop("Exported {number} rows of the list {list}. {filters}")
"""The filters stay as they are in the log: in English."""
TOKEN_MADE: Final = gettext_noop("Made.")
TOKEN_REVOKED: Final = gettext_noop("Revoked.")

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
)


def english(sentence: str | tuple[str, str], *, number: int = 1, **values: object) -> str:
    """The sentence as the log stores it."""
    template = sentence if isinstance(sentence, str) else sentence[number != 1]
    with override("en"):
        return template.format(number=number_text(number), **values)


def shown_sentence(stored: str) -> str:
    """A stored sentence in the active language."""
    for pattern, sentence in _patterns():
        if found := pattern.fullmatch(stored):
            return _translated(sentence, found.groupdict())
    return stored


def _translated(sentence: str | tuple[str, str], values: dict[str, str]) -> str:
    number = int(values.pop("number", "1").replace(",", ""))
    if "list" in values:
        values["list"] = gettext(values["list"])
    if values.get("type") in MessageType.values:
        values["type"] = str(MessageType(values["type"]).label).lower()
    template = gettext(sentence) if isinstance(sentence, str) else ngettext(*sentence, number)
    return template.format(number=number_text(number), **values)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str | tuple[str, str]], ...]:
    return tuple(_all_patterns())


def _all_patterns() -> Iterator[tuple[re.Pattern[str], str | tuple[str, str]]]:
    for sentence in SENTENCES:
        for form in (sentence,) if isinstance(sentence, str) else sentence:
            escaped = re.escape(form).replace(r"\{number\}", r"(?P<number>\d[\d,]*)")
            yield re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", escaped)), sentence
