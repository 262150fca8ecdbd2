"""The texts that a reader of a page sees, and those of them that did not go through a catalogue.

`marked_translations` puts every translation into Portuguese, ours, Django's and the theme's, between two
marks. What a page shows outside of marks is data, or was forgotten.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import trans_real

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BEGIN, END = "⟦", "⟧"
LANGUAGE: Final = "pt-br"

SHOWN_ATTRIBUTES: Final = {"title", "placeholder", "aria-label", "alt", "label", "data-label"}
BUTTONS: Final = {"submit", "button", "reset"}
NOT_TEXT: Final = {"script", "style", "pre", "code"}
NOT_OURS: Final = ("material-symbols-outlined", "engagement-bubble")
"""Classes of icons, which are words of a font, and of messages, which are in the language of their users."""
WORD: Final = re.compile(r"[^\W\d_]{2,}")


@contextmanager
def marked_translations() -> Iterator[None]:
    """Mark all Portuguese translations."""
    catalog = trans_real.translation(LANGUAGE)._catalog  # type: ignore[attr-defined]
    originals = catalog._catalogs
    catalog._catalogs = [{key: _marked(key, text) for key, text in one.items()} for one in originals]
    try:
        yield
    finally:
        catalog._catalogs = originals


def _marked(key: object, text: str) -> str:
    # The header, and lists such as "yes,no,maybe", which templates split.
    msgid = str(key[0] if isinstance(key, tuple) else key)
    return text if not msgid or re.fullmatch(r"\w+(,\w+)+", msgid) else f"{BEGIN}{text}{END}"


class PageTexts(HTMLParser):
    """Collects what a page shows outside of marks."""

    def __init__(self) -> None:
        super().__init__()
        self.unmarked: list[str] = []
        self._depth = 0
        self._skipped = ""
        self._skip_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped:
            self._skip_depth += tag == self._skipped
            return
        found = {name: value or "" for name, value in attrs}
        for name in SHOWN_ATTRIBUTES & found.keys():
            self._take(found[name])
        if tag == "input" and found.get("type") in BUTTONS:
            self._take(found.get("value", ""))
        if "data-value" in found:
            for text in labels_of_chart(found["data-value"]):
                self._take(text)
        if tag in NOT_TEXT or any(name in found.get("class", "") for name in NOT_OURS):
            self._skipped, self._skip_depth = tag, 1

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skipped:
            self._skip_depth -= 1
            if not self._skip_depth:
                self._skipped = ""

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            rest, self._depth = outside_of_marks(data, depth=self._depth)
            self.unmarked.append(rest)

    def _take(self, text: str) -> None:
        self.unmarked.append(outside_of_marks(text)[0])


def outside_of_marks(text: str, *, depth: int = 0) -> tuple[str, int]:
    """What is outside of marks, and the depth at the end."""
    rest = []
    for character in text:
        if character == BEGIN:
            depth += 1
        elif character == END:
            depth = max(depth - 1, 0)
        elif not depth:
            rest.append(character)
    return "".join(rest), depth


def labels_of_chart(text: str) -> list[str]:
    """The words in the data of Chart.js."""
    try:
        data = json.loads(text)
    except ValueError:
        return [text]
    return [
        *map(str, data.get("labels", [])),
        *(str(part.get("label", "")) for part in data.get("datasets", [])),
    ]


def untranslated(html: str, *, data: Iterable[str]) -> set[str]:
    """The texts of a page that are neither marked nor match `data`."""
    page = PageTexts()
    page.feed(html)
    if page._depth:
        return {"a mark is not closed"}
    is_data = re.compile("|".join(data))
    rests = (" ".join(is_data.sub(" ", text).split()) for text in page.unmarked)
    return {rest for rest in rests if WORD.search(rest)}


class Forms(HTMLParser):
    """The forms of a page: target, method, hidden fields, and the choices of each menu."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._menu = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(
                {
                    "id": found.get("id"),
                    "action": found.get("action", ""),
                    "method": found.get("method", "get"),
                    "hidden": {},
                    "menus": {},
                    "checkboxes": {},
                }
            )
        elif self.forms and tag == "input" and "name" in found:
            kind = {"hidden": "hidden", "checkbox": "checkboxes"}.get(found.get("type", ""))
            if kind:
                self.forms[-1][kind].setdefault(found["name"], found.get("value", ""))
        elif self.forms and tag == "select":
            self._menu = found.get("name", "")
        elif self.forms and tag == "option" and found.get("value"):
            self.forms[-1]["menus"].setdefault(self._menu, []).append(found["value"])


class Links(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        url = dict(attrs).get("href")
        if tag == "a" and url:
            self.urls.append(url)
