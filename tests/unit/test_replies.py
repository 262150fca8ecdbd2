"""What a message means, in every state and for any text. No database."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engagement.replies import (
    PREFERENCES,
    REPLIES,
    Preference,
    plain_words,
    preference_in,
    preferences_of,
    trigger_of,
)
from engagement.states import State, Trigger
from tests.factories import NOW, TICK

if TYPE_CHECKING:
    from datetime import datetime

ANSWERS: Final = {
    "goodbye_response_1": [
        "1",
        " 1 ",
        "1.",
        "1)",
        "(1)",
        "*1*",
        "~1~",
        "1️⃣",
        "1\u20e3",
        "\uff11",
        "①",
        "\u200e1\u200f",
        "\n1\n",
        "confuso",
        "Confusa!",
        "Confuso!",
        "CONFUSO...",
        "confused",
        "Confused?!",
        "“confused”",
        "con\u00adfused",
        "Ficou confuso",
        "It got confusing",
    ],
    "goodbye_response_2": [
        "2",
        "2️⃣",
        "2 .",
        "ocupado",
        "OCUPADO",
        "ocupada",
        "\tocupado,",
        "busy",
        "Busy.",
        "¡busy!",
        "Fica para depois",
        "Later",
    ],
    "goodbye_response_3": [
        "3",
        "3️⃣",
        "#3",
        "<3>",
        "< 3",
        "tudo certo",
        "TUDO CERTO!",
        "Tudo  certo.",
        "tudo\u00a0certo",
        "tudo, certo",
        "all good",
        "all  good",
        "All-good!",
        "\uff21\uff2c\uff2c\u3000\uff27\uff2f\uff2f\uff24",
    ],
}
OUT: Final = ["parar", "Parar.", "PARAR!", "stop", "STOP", " stop ", '"stop"', "sair", "Sair…", "*sair*"]
OUT_OF_TWO_WORDS: Final = ["cancelar mensagens", "Cancelar  mensagens!", "CANCELAR\nMENSAGENS"]
IN: Final = ["voltar", "Voltar!", "start", "START", "(start)"]
SAYS_NOTHING: Final = [
    "",
    " ",
    "!?",
    "\u200b",
    "👍",
    "0",
    "4",
    "11",
    "1 2",
    "1,2",
    "1/2",
    "1️⃣2️⃣",
    "-",
    "opção 1",
    "option 1",
    "1 please",
    "um",
    "one",
    "3x",
    "<3",
    " <3!",
    "\uff1c3",
    "confuso?não",
    "não estou confuso",
    "muito ocupado",
    "tudo",
    "certo",
    "tudocerto",
    "tudo certo então",
    "all good here",
    "oi",
    "hello",
    "1" * 200,
    "\ud800",
    "\0",
]
PART_OF_A_SENTENCE: Final = [
    "não quero parar",
    "parar de fumar",
    "stop sending these",
    "please stop",
    "don't stop",
    "nonstop",
    "stopped",
    "sair do grupo",
    "vou sair",
    "cancelar",
    "mensagens",
    "cancelar as mensagens",
    "quero voltar",
    "voltar amanhã",
    "start over",
    "restart",
    "stop start",
]
TEXTS: Final = {
    **{text: trigger for trigger, texts in ANSWERS.items() for text in texts},
    **dict.fromkeys([*OUT, *OUT_OF_TWO_WORDS, *IN, *SAYS_NOTHING, *PART_OF_A_SENTENCE], "user_message"),
}


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_user_who_was_sent_a_goodbye_can_reply(text: str) -> None:
    assert trigger_of(text, state="goodbye_sent", heard_at=NOW, answerable_from=NOW) == TEXTS[text]


@pytest.mark.parametrize("state", sorted(set(State.values) - {"goodbye_sent"}))
def test_in_any_other_state_any_text_is_a_message(state: str) -> None:
    # Also where another program has left the dates of a goodbye behind.
    triggers = {trigger_of(text, state=state, heard_at=NOW, answerable_from=NOW) for text in TEXTS}
    assert triggers == {Trigger.USER_MESSAGE}


@pytest.mark.parametrize(
    ("heard_at", "trigger"),
    [(NOW - TICK, "user_message"), (NOW, "goodbye_response_2"), (NOW + TICK, "goodbye_response_2")],
)
def test_message_before_the_goodbye_is_not_a_reply(heard_at: datetime, trigger: str) -> None:
    assert trigger_of("2", state="goodbye_sent", heard_at=heard_at, answerable_from=NOW) == trigger


def test_goodbye_that_was_not_sent_has_no_reply() -> None:
    triggers = {trigger_of(text, state="goodbye_sent", heard_at=NOW, answerable_from=None) for text in TEXTS}
    assert triggers == {Trigger.USER_MESSAGE}


@pytest.mark.parametrize("text", [*OUT, *OUT_OF_TWO_WORDS], ids=ascii)
def test_phrase_opts_out(text: str) -> None:
    assert preference_in(text) is Preference.OPTED_OUT


@pytest.mark.parametrize("text", IN, ids=ascii)
def test_phrase_opts_in(text: str) -> None:
    assert preference_in(text) is Preference.OPTED_IN


@pytest.mark.parametrize("text", sorted(set(TEXTS) - {*OUT, *OUT_OF_TWO_WORDS, *IN}), ids=ascii)
def test_any_other_text_is_no_preference(text: str) -> None:
    assert preference_in(text) is None


def test_phrases_are_plain_words_and_do_not_overlap() -> None:
    phrases = [*REPLIES, *PREFERENCES]
    assert [plain_words(phrase) for phrase in phrases] == phrases
    assert len(set(phrases)) == len(phrases)


stray = st.text(string.punctuation + " \t\n\u00a0\u2003\u200b\ufe0f…“”¿¡\u2013", max_size=20)


@given(before=stray, phrase=st.sampled_from([*REPLIES, *PREFERENCES]), after=stray, shout=st.booleans())
def test_spaces_punctuation_and_capitals_do_not_matter(
    before: str, phrase: str, after: str, *, shout: bool
) -> None:
    # A heart is no stray sign before a number.
    assume(not f"{before}{phrase}".endswith("<3"))
    assert plain_words(f"{before}{phrase.upper() if shout else phrase}{after}") == phrase


@given(st.text())
def test_every_text_has_plain_words(text: str) -> None:
    plain = plain_words(text)
    assert plain == " ".join(plain.split())
    assert not set(plain) & set(string.punctuation)


def test_text_with_very_many_accents_is_ignored() -> None:
    """Normalizing them takes quadratic time."""
    flood = "\u0301\u0327" * 20_000
    assert plain_words(f"1{flood}") == ""
    assert plain_words("1" + " " * 1_000_000) == "1"


@pytest.mark.parametrize(
    "text",
    [
        "STOP🛑",
        "parar 🙏",
        "SAIR🚪",
        "🙏🏽 sair 🙏🏽",
        "pare!",
        "nao quero mais mensagens",
        "Não quero mais receber mensagens.",
        "descadastrar",
        "unsubscribe",
        "stop all",
        "👨‍👩‍👧 stop",
        "st\u200bop \u200f",
    ],
    ids=ascii,
)
def test_symbols_and_accents_do_not_hide_an_opt_out(text: str) -> None:
    assert preference_in(text) is Preference.OPTED_OUT


@pytest.mark.parametrize(
    ("text", "reply"),
    [("1 👍", "1"), ("👍1", "1"), ("ocupado 😅", "ocupado"), ("3️⃣✅", "3"), ("tudo certo ❤️", "tudo certo")],
    ids=ascii,
)
def test_symbols_do_not_hide_a_reply(text: str, reply: str) -> None:
    assert plain_words(text) == reply


@pytest.mark.parametrize(
    "text",
    [
        "cancelar",
        "cancel",
        "cancela",
        "para",
        "quit",
        "3 €",
        "R$ 3",
        "+3+1",
        "❤",
        "👍",
        "não pare",
        "stop it 🛑 now",
    ],
    ids=ascii,
)
def test_word_that_means_other_things_is_no_wish_and_no_reply(text: str) -> None:
    assert preference_in(text) is None
    assert plain_words(text) not in REPLIES


def test_other_phrases_replace_the_default_ones() -> None:
    preferences = preferences_of(opt_out=["Já chega!", "stop"], opt_in=["de volta"])
    assert preference_in("ja chega", preferences=preferences) is Preference.OPTED_OUT
    assert preference_in("DE VOLTA", preferences=preferences) is Preference.OPTED_IN
    assert preference_in("parar", preferences=preferences) is None
