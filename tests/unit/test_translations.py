"""Every text of the interface has a translation, with the same places. No database."""

from __future__ import annotations

import re
from gettext import GNUTranslations
from typing import TYPE_CHECKING, Final

import pytest
from babel.messages.catalog import Catalog

from tests import translations
from tests.themes import with_the_theme_of_the_catalogue
from tests.translations import SOURCES, Entry, forms_of, updated, written

if TYPE_CHECKING:
    from pathlib import Path

    from babel.messages.catalog import Message

    from tests.translations import Source

ADVICE: Final = "run: make messages, and translate what it names"
PLACES: Final = re.compile(r"%\(\w+\)[sd]|\{\w*\}|<[^>]+>")

of_each_source = pytest.mark.parametrize(
    "source", SOURCES, ids=[f"{source.folder.parent.name}-{source.language}" for source in SOURCES]
)


def texts(catalog: Catalog) -> dict[tuple[object, object], Message]:
    return {(message.id, message.context): message for message in catalog if message.id}


def problems(catalog: Catalog) -> list[str]:
    """What is wrong with the translations of a catalogue."""
    found = []
    for message in texts(catalog).values():
        original, translated = forms_of(message.id), forms_of(message.string)
        if not translated or not all(text.strip() for text in translated) or message.fuzzy:
            found.append(f"not translated: {original[0]!r}")
        elif any(set(PLACES.findall(text)) != set(PLACES.findall(original[-1])) for text in translated):
            found.append(f"other places: {original[0]!r}")
    return found


def compiled_texts(source: Source) -> dict[object, str]:
    with source.po.with_suffix(".mo").open("rb") as compiled:
        found: dict[object, str] = dict(GNUTranslations(compiled)._catalog)  # type: ignore[attr-defined]
    return {key: text for key, text in found.items() if key}


@with_the_theme_of_the_catalogue
@of_each_source
def test_catalogue_has_all_texts_and_no_others(source: Source) -> None:
    assert texts(written(source)).keys() == texts(updated(source)).keys(), ADVICE


@of_each_source
def test_every_text_is_translated_with_the_same_places(source: Source) -> None:
    assert problems(written(source)) == [], ADVICE


@of_each_source
def test_catalogue_is_compiled(source: Source) -> None:
    expected: dict[object, str] = {}
    for message in texts(written(source)).values():
        prefix = f"{message.context}\x04" if message.context else ""
        key = f"{prefix}{forms_of(message.id)[0]}"
        if isinstance(message.string, str):
            expected[key] = message.string
        else:
            expected |= {(key, number): text for number, text in enumerate(forms_of(message.string))}
    assert compiled_texts(source) == expected, ADVICE


@pytest.mark.parametrize(
    ("original", "translated"),
    [
        ("Hello", ""),
        ("Hello {name}", "Olá {nome}"),
        ("Hello %(name)s", "Olá"),
        (("{count} user", "{count} users"), ("{count} usuário", "")),
    ],
)
def test_missing_and_wrong_translations_are_found(
    original: str | tuple[str, str], translated: str | tuple[str, str]
) -> None:
    catalog = Catalog(locale="pt_BR")
    catalog.add(original, translated)
    assert len(problems(catalog)) == 1


def test_texts_of_modules_and_templates_are_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        'a = _("One")\nb = ngettext_lazy("{n} row", "{n} rows", n)\nc = pgettext("run", "failed")\n'
    )
    (tmp_path / "page.html").write_text(
        '{% load i18n %}\n  <p>{% translate "Two" %}</p>\n'
        "{% blocktranslate count n=n %}{{ n }} user{% plural %}{{ n }} users{% endblocktranslate %}\n"
        '    <i title="{% translate "failed" context "message" %}">{{ _("Three") }}</i>'
    )
    folder = tmp_path.name
    assert list(translations.of_package(tmp_path)) == [
        Entry("One", None, f"{folder}/module.py"),
        Entry(("{n} row", "{n} rows"), None, f"{folder}/module.py"),
        Entry("failed", "run", f"{folder}/module.py"),
        Entry("Two", None, f"{folder}/page.html"),
        Entry(("%(n)s user", "%(n)s users"), None, f"{folder}/page.html"),
        Entry("failed", "message", f"{folder}/page.html"),
        Entry("Three", None, f"{folder}/page.html"),
    ]


def test_update_keeps_translations_and_drops_texts_that_are_gone(tmp_path: Path) -> None:
    now = ["Kept", "Gone"]
    source = translations.Source(tmp_path, "pt_BR", lambda: (Entry(text, None, "x.py") for text in now))
    assert translations.write(source) == ["Kept", "Gone"]
    source.po.write_bytes(source.po.read_bytes().replace(b'"Kept"\nmsgstr ""', b'"Kept"\nmsgstr "Mantido"'))
    now[1] = "New"
    assert translations.write(source) == ["New"]
    assert b'msgid "Kept"\nmsgstr "Mantido"' in source.po.read_bytes()
    assert b"Gone" not in source.po.read_bytes()
    assert compiled_texts(source) == {"Kept": "Mantido"}
