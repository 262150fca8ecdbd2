"""The catalogue of messages: keys, parameters, languages and the committed translations. No database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from babel.messages.pofile import read_po
from django.utils import translation

from engagement import message_catalogue as messages
from engagement.message_catalogue import (
    UnknownMessageKey,
    WrongMessageParameters,
    WrongTranslation,
    check_message,
    language_of,
    message_keys,
    parameters_of,
    register_message,
    render,
)
from engagement.replies import (
    NAMED_IN_TEXTS,
    PREFERENCES,
    REPLIES,
    REPLY_TO_ANSWER,
    REPLY_TO_PREFERENCE,
    Preference,
)
from tests.running import PROJECT

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

LOCALES: Final = ["pt_BR", "en"]
FOLDER: Final = PROJECT / "engagement" / "locale"


@pytest.fixture(autouse=True)
def own_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_texts", dict(messages._texts))


def written(locale: str) -> Catalog:
    with (FOLDER / locale / "LC_MESSAGES" / "django.po").open("rb") as source:
        return read_po(source, locale=locale, abort_invalid=True)


def translations_in(locale: str) -> dict[str, Any]:
    """By key: what the source file says. It also has the texts of the interface."""
    return {str(entry.context): entry for entry in written(locale) if str(entry.context) in messages._texts}


def rendered(key: str, locale: str = "pt-BR", **params: object) -> str:
    return render(key=key, locale=locale, params=params)


# The catalogues.


@pytest.mark.parametrize("locale", LOCALES)
def test_every_message_is_translated(locale: str) -> None:
    entries = translations_in(locale)
    assert {key: entry.id for key, entry in entries.items()} == messages._texts
    assert all(entry.string and not entry.fuzzy for entry in entries.values())


@pytest.mark.parametrize("locale", LOCALES)
def test_translation_has_the_parameters_of_its_source(locale: str) -> None:
    for entry in translations_in(locale).values():
        assert parameters_of(entry.string) == parameters_of(entry.id)
        assert entry.string % dict.fromkeys(parameters_of(entry.id), "Ana")


def test_english_catalogue_equals_the_texts_in_the_code() -> None:
    assert all(entry.string == entry.id for entry in translations_in("en").values())


# Texts.


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
@pytest.mark.parametrize("key", message_keys())
def test_every_message_has_a_text_of_its_own_in_each_language(key: str, locale: str) -> None:
    source = messages._texts[key]
    params = dict.fromkeys(parameters_of(source), 14)
    text = rendered(key, locale, **params)
    assert text == text.strip()
    assert "  " not in text
    assert (text == source % params) is (locale == "en")


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
def test_goodbye_offers_three_numbered_answers(locale: str) -> None:
    lines = rendered(messages.GOODBYE, locale).splitlines()
    assert [line[:3] for line in lines if line[:1].isdigit()] == ["1. ", "2. ", "3. "]
    assert "1, 2 ou 3" in lines[-3] or "1, 2 or 3" in lines[-3]


@pytest.mark.parametrize("locale", ["pt-BR", "en"])
@pytest.mark.parametrize(
    ("key", "preference"),
    [
        (messages.GOODBYE, Preference.OPTED_OUT),
        (messages.OPTED_OUT, Preference.OPTED_IN),
        (messages.OPTED_IN, Preference.OPTED_OUT),
    ],
)
def test_text_names_a_phrase_that_opts_out_or_in(key: str, preference: Preference, locale: str) -> None:
    phrase = rendered(key, locale).split('"')[1]
    assert PREFERENCES[phrase] is preference
    assert phrase in NAMED_IN_TEXTS[preference]


def test_every_reply_and_every_preference_has_an_answer() -> None:
    assert set(REPLY_TO_ANSWER) == set(REPLIES.values())
    assert set(REPLY_TO_PREFERENCE) == set(PREFERENCES.values())
    replies = {*REPLY_TO_ANSWER.values(), *REPLY_TO_PREFERENCE.values()}
    assert {*replies, messages.GOODBYE, messages.SEE_YOU_TOMORROW} == set(message_keys())


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("pt-BR", "pt-br"),
        ("pt_BR", "pt-br"),
        ("pt", "pt-br"),
        ("pt-PT", "pt-br"),
        ("PT-br", "pt-br"),
        ("en", "en"),
        ("en-GB", "en"),
        ("en_US", "en"),
        ("EN", "en"),
        (" en ", "en"),
        ("en_US.UTF-8", "en"),
        ("en-Latn-US", "en"),
        ("", "pt-br"),
        ("es", "pt-br"),
        ("eng", "pt-br"),
        ("english", "pt-br"),
        ("-en", "pt-br"),
        ("../../etc/passwd", "pt-br"),
        ("\0", "pt-br"),
        ("x" * 10_000, "pt-br"),
    ],
)
def test_unsupported_locale_gets_brazilian_portuguese(locale: str, language: str) -> None:
    assert language_of(locale) == language
    assert rendered(messages.HELP, locale).startswith({"pt-br": "Sem problema", "en": "No problem"}[language])


def test_rendering_does_not_change_the_active_language() -> None:
    with translation.override("de"):
        rendered(messages.HELP)
        assert translation.get_language() == "de"


# What can be queued.


@pytest.mark.parametrize("key", ["", "engagement.goodbye", "engagement.goodby.self_select", "ENGAGEMENT"])
def test_unknown_key_is_refused_with_the_known_keys(key: str) -> None:
    with pytest.raises(UnknownMessageKey, match=r"^There is no message .*engagement\.goodbye\.self_select, "):
        check_message(key=key, params=())
    with pytest.raises(UnknownMessageKey):
        rendered(key)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (["days"], "'name' is missing"),
        ([], "'days' is missing, 'name' is missing"),
        (["name", "days", "age"], "'age' is not in the text"),
        (["names", "days"], "'name' is missing, 'names' is not in the text"),
    ],
)
def test_wrong_parameters_are_refused_in_a_sentence(params: list[str], problem: str) -> None:
    register_message(key="assistant.streak", text="%(name)s: %(days)s days, 100%%")
    with pytest.raises(WrongMessageParameters) as refused:
        check_message(key="assistant.streak", params=params)
    assert str(refused.value) == f"Wrong parameters for the message 'assistant.streak': {problem}."


def test_registered_message_is_rendered_with_its_parameters() -> None:
    register_message(key="assistant.streak", text="%(name)s: %(days)s days, 100%%")
    register_message(key="assistant.streak", text="%(name)s: %(days)s days, 100%%")
    assert rendered("assistant.streak", name="50% {Ana} %(x)s", days=3) == "50% {Ana} %(x)s: 3 days, 100%"


def test_registering_another_text_for_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'engagement.*' already has another text"):
        register_message(key=messages.GOODBYE, text="Bye")


@pytest.mark.parametrize(
    "text", ["100%", "%s", "%d", "%(name)d", "%(name)", "100 % of %(name)s", "%()s", "%%%"]
)
def test_stray_percent_sign_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="percent sign"):
        register_message(key="assistant.percent", text=text)


@pytest.mark.parametrize("translated", ["%(nome)s, oi!", "Oi!", "%(name)s e %(age)s"])
def test_translation_with_other_parameters_is_refused(
    monkeypatch: pytest.MonkeyPatch, translated: str
) -> None:
    register_message(key="assistant.hello", text="Hi, %(name)s!")
    texts = {"pt-br": translated, "en": "Hi, %(name)s!"}
    monkeypatch.setattr(
        translation, "pgettext", lambda _key, _text: texts[translation.get_language() or "en"]
    )
    with pytest.raises(WrongTranslation, match=r"'assistant\.hello' in pt-br has other parameters"):
        check_message(key="assistant.hello", params=["name"])
