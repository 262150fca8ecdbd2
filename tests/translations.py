"""Extract the texts of the interface and of the messages, update the catalogues and compile them.

`make messages` runs this module. Babel reads Python; Django itself turns a template into something that looks
like Python. GNU gettext is not needed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from gettext import GNUTranslations
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import django
import unfold
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation import templatize

from engagement import message_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYWORDS: Final = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop")),
    **dict.fromkeys(("ngettext", "ngettext_lazy", "ngettext_noop"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ((1, "c"), 2, 3)),
}
TRANSLATED: Final = "pt_BR"
NOT_SHOWN: Final = ("management/", "migrations/", "replay/", "sandbox/", "templates/engagement/sandbox.html")
"""What only operators and developers read is in English."""

DJANGO_FOLDERS: Final = ("conf", *(f"contrib/{app}" for app in ("admin", "auth", "contenttypes")))
"""Where the catalogues of Django are that the project uses."""

WHEN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""A constant, so that a compiled catalogue changes only with its texts."""

HEADER: Final = """\
# After a change of a text: make messages. docs/development.md has the words to use.
msgid ""
msgstr ""
"Project-Id-Version: engagement\\n"
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=2; plural={plural};\\n"

"""


class Entry(NamedTuple):
    """A text to translate, and its plural if it has one."""

    id: str | tuple[str, str]
    context: str | None
    file: str


class Source(NamedTuple):
    """A folder with catalogues, and what belongs into them."""

    folder: Path
    language: str
    entries: Callable[[], Iterator[Entry]]

    @property
    def po(self) -> Path:
        return self.folder / self.language / "LC_MESSAGES" / "django.po"


def of_package(root: Path) -> Iterator[Entry]:
    """The texts in a package's modules and templates."""
    for path in sorted(path for suffix in ("py", "html") for path in root.rglob(f"*.{suffix}")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(NOT_SHOWN):
            yield from _of_file(path, name=f"{root.name}/{name}")


def of_messages() -> Iterator[Entry]:
    """The texts that users of the assistant receive. Their keys are the contexts."""
    for key in message_catalogue.message_keys():
        yield Entry(message_catalogue._texts[key], key, "engagement/message_catalogue.py")


def of_theme() -> Iterator[Entry]:
    """The theme's texts that Django does not translate; the theme has no catalogue for Portuguese."""
    root, known = Path(unfold.__file__).parent, _translated_by_django()
    parts = (of_package(root / folder) for folder in ("templates", "contrib/filters", "templatetags"))
    modules = (_of_file(path, name="unfold") for path in sorted(root.glob("*.py")))
    for entry in chain(*parts, *modules):
        one = entry.id if isinstance(entry.id, str) else entry.id[0]
        if one not in known:
            yield entry._replace(file="unfold")


_FOUND: Final = (
    '\n            Found <span class="font-medium text-important">%(counter)s</span> {} in %(time)s seconds'
    "\n        "
)
NEWER_THEME: Final[tuple[str | tuple[str, str], ...]] = (
    "Available shortcuts",
    "Changelist shortcuts",
    "Command tool shortcuts",
    "Create new record",
    "Global shortcuts",
    "Navigate",
    "Nothing matched your search",
    "Open command tool",
    "Open selection",
    "Open selection in new tab",
    "Open shortcuts list",
    "Run the selected action",
    "Select",
    "This page yielded into no results.",
    "Toggle dark/light mode",
    "Toggle filter",
    "Toggle sidebar",
    (
        'Are you sure you want to delete the %(object_name)s "%(escaped_object)s"?'
        " All of the following related items will be deleted:"
    ),
    (
        "Deleting the %(object_name)s '%(escaped_object)s' would require deleting the following"
        " protected related objects:"
    ),
    (
        "Deleting the %(object_name)s '%(escaped_object)s' would result in deleting related objects,"
        " but your account doesn't have permission to delete the following types of objects:"
    ),
    (_FOUND.format("result"), _FOUND.format("results")),
)
"""Texts of the theme that Python 3.12 and later get (0.110), and the pinned one does not have."""


def of_newer_theme() -> Iterator[Entry]:
    for text in NEWER_THEME:
        yield Entry(text, None, "unfold")


def all_of(*parts: Callable[[], Iterator[Entry]]) -> Iterator[Entry]:
    for part in parts:
        yield from part()


PROJECT: Final = Path(__file__).parents[1]
APP, SITE = PROJECT / "engagement", PROJECT / "config"
SOURCES: Final = (
    Source(APP / "locale", "en", of_messages),
    Source(APP / "locale", TRANSLATED, partial(all_of, of_messages, partial(of_package, APP))),
    Source(SITE / "locale", TRANSLATED, partial(all_of, partial(of_package, SITE), of_theme, of_newer_theme)),
)


def written(source: Source) -> Catalog:
    """The catalogue as it is in the file."""
    text = source.po.read_bytes() if source.po.exists() else b""
    return read_po(BytesIO(text), locale=source.language, abort_invalid=True)


def updated(source: Source) -> Catalog:
    """The catalogue with the texts of today: new ones are empty, texts that are gone are left out."""
    catalog, old = Catalog(locale=source.language, creation_date=WHEN, revision_date=WHEN), written(source)
    for entry in source.entries():
        former = old.get(entry.id, entry.context)
        translation = former.string if former and "fuzzy" not in former.flags else ""
        catalog.add(entry.id, translation, locations=[(entry.file, None)], context=entry.context)  # type: ignore[list-item]
    return catalog


def write(source: Source) -> list[str]:
    """Update and compile a catalogue; return what has no translation."""
    catalog, buffer = updated(source), BytesIO()
    write_po(buffer, catalog, width=100, omit_header=True, include_lineno=False)
    header = HEADER.format(language=source.language, plural=catalog.plural_expr)
    source.po.parent.mkdir(parents=True, exist_ok=True)
    source.po.write_text(header + buffer.getvalue().decode(), encoding="utf-8")
    with source.po.with_suffix(".mo").open("wb") as compiled:
        write_mo(compiled, catalog)
    return [
        str(message.id) for message in catalog if message.id and not all(forms_of(message.string) or ("",))
    ]


def forms_of(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    """The text, or the texts for one and for many."""
    return (text,) if isinstance(text, str) else tuple(text or ())


def _of_file(path: Path, *, name: str) -> Iterator[Entry]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        # Without the indentation, which Python would read.
        text = "\n".join(line.strip() for line in templatize(text, origin=name).splitlines())
    for _, message, _, context in extract("python", BytesIO(text.encode()), keywords=KEYWORDS):
        yield Entry(message, context, name)  # type: ignore[arg-type]  # with these keywords


def _translated_by_django() -> set[str]:
    known: set[str] = set()
    for folder in DJANGO_FOLDERS:
        path = Path(django.__file__).parent / folder / "locale" / TRANSLATED / "LC_MESSAGES" / "django.mo"
        with path.open("rb") as compiled:
            catalog = GNUTranslations(compiled)._catalog  # type: ignore[attr-defined]
        known |= {key[0] if isinstance(key, tuple) else key for key in catalog}
    return known


def main() -> None:
    for source in SOURCES:
        for text in write(source):
            print(f"{source.po.relative_to(PROJECT)}: not translated: {text!r}")  # noqa: T201


if __name__ == "__main__":
    main()
