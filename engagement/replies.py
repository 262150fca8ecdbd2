"""What a message from a user means: a reply to the goodbye, an opt-out or an opt-in. Pure."""

from __future__ import annotations

import re
import string
import unicodedata
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from engagement import message_catalogue as messages
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


class Preference(StrEnum):
    """Whether a user wants messages that they did not ask for."""

    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"


REPLIES: Final[Mapping[str, Trigger]] = MappingProxyType(
    {
        "1": Trigger.GOODBYE_RESPONSE_1,
        "confuso": Trigger.GOODBYE_RESPONSE_1,
        "confusa": Trigger.GOODBYE_RESPONSE_1,
        "confused": Trigger.GOODBYE_RESPONSE_1,
        "ficou confuso": Trigger.GOODBYE_RESPONSE_1,
        "it got confusing": Trigger.GOODBYE_RESPONSE_1,
        "2": Trigger.GOODBYE_RESPONSE_2,
        "ocupado": Trigger.GOODBYE_RESPONSE_2,
        "ocupada": Trigger.GOODBYE_RESPONSE_2,
        "busy": Trigger.GOODBYE_RESPONSE_2,
        "fica para depois": Trigger.GOODBYE_RESPONSE_2,
        "later": Trigger.GOODBYE_RESPONSE_2,
        "3": Trigger.GOODBYE_RESPONSE_3,
        "tudo certo": Trigger.GOODBYE_RESPONSE_3,
        "all good": Trigger.GOODBYE_RESPONSE_3,
    }
)
"""The replies to a goodbye, as `plain_words` returns them. Any other text is an ordinary message.

The labels of the template's buttons, which docs/delivery.md names, are among them: some people type them.
"""

OPT_OUT_WORDS: Final = (
    "sair",
    "quero sair",
    "pare",
    "parar",
    "parar mensagens",
    "pare de mandar mensagens",
    "pare de me mandar mensagens",
    "pare de enviar mensagens",
    "pare de me enviar mensagens",
    "cancelar mensagens",
    "descadastrar",
    "me descadastre",
    "não quero mais mensagens",
    "não quero mais receber mensagens",
    "não quero receber mensagens",
    "não me mande mais mensagens",
    "não me envie mais mensagens",
    "stop",
    "stop all",
    "stopall",
    "stop messages",
    "stop messaging me",
    "unsubscribe",
    "opt out",
    "no more messages",
)
"""The default phrases that opt out. *Cancelar* alone is none of them: an assistant has more to cancel."""

OPT_IN_WORDS: Final = ("voltar", "start", "unstop", "quero receber mensagens")
"""The default phrases that opt in: fewer, because consent must be clear."""

NAMED_IN_TEXTS: Final[Mapping[Preference, tuple[str, ...]]] = MappingProxyType(
    {Preference.OPTED_OUT: ("sair", "parar", "stop"), Preference.OPTED_IN: ("voltar", "start")}
)
"""The words that our own messages tell users to send."""

REPLY_TO_ANSWER: Final[Mapping[str, str]] = MappingProxyType(
    {
        Trigger.GOODBYE_RESPONSE_1.value: messages.HELP,
        Trigger.GOODBYE_RESPONSE_2.value: messages.SEE_YOU_IN_TWO_WEEKS,
        Trigger.GOODBYE_RESPONSE_3.value: messages.DOOR_IS_OPEN,
    }
)
"""The message that answers each reply to the goodbye."""

REPLY_TO_PREFERENCE: Final[Mapping[Preference, str]] = MappingProxyType(
    {Preference.OPTED_OUT: messages.OPTED_OUT, Preference.OPTED_IN: messages.OPTED_IN}
)
"""The message that confirms an opt-out or an opt-in."""

LONGEST_PHRASE: Final = 100
"""In characters, with single spaces. A longer text is not a phrase."""

_HEART: Final = re.compile(r"<3(?!>)")
"""A heart. Without its punctuation it would be read as reply 3."""

_DROPPED: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs"})
"""Unicode categories of characters without a width: accents, the keycap of 1️⃣, joiners, controls."""

_SYMBOLS: Final = frozenset({"So", "Sk"})
"""Unicode categories of emoji and of their skin tones. Signs such as the € stay: `3 €` is no reply."""


def trigger_of(text: str, *, state: str, heard_at: datetime, answerable_from: datetime | None) -> Trigger:
    """The trigger of a message: a reply to the goodbye, or a message like any other.

    A reply needs a goodbye that was sent, and counts from `answerable_from` on; None if none was sent.
    """
    if state != State.GOODBYE_SENT or answerable_from is None or heard_at < answerable_from:
        return Trigger.USER_MESSAGE
    return REPLIES.get(plain_words(text), Trigger.USER_MESSAGE)


def preferences_of(*, opt_out: Iterable[str], opt_in: Iterable[str]) -> Mapping[str, Preference]:
    """By phrase, as `plain_words` returns it: whether it opts out or in."""
    opting_out = dict.fromkeys(map(plain_words, opt_out), Preference.OPTED_OUT)
    return MappingProxyType({**dict.fromkeys(map(plain_words, opt_in), Preference.OPTED_IN), **opting_out})


def preference_in(text: str, *, preferences: Mapping[str, Preference] | None = None) -> Preference | None:
    """The opt-out or opt-in that the whole text expresses, if any; by the default phrases without others."""
    return (PREFERENCES if preferences is None else preferences).get(plain_words(text))


def plain_words(text: str) -> str:
    """The text in the form of the tables above: lower case, without accents and symbols, single spaces.

    Empty if the text is too long for a phrase or contains a heart made of punctuation.
    """
    spaced = " ".join(text.split())
    if len(spaced) > LONGEST_PHRASE:
        return ""
    normal = unicodedata.normalize("NFKD", spaced).casefold()
    if _HEART.search(normal):
        return ""
    return " ".join("".join(map(_plain, normal)).split())


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _DROPPED:
        return ""
    is_separator = category[0] in "PZ" or category in _SYMBOLS or character in string.punctuation
    return " " if is_separator else character


PREFERENCES: Final = preferences_of(opt_out=OPT_OUT_WORDS, opt_in=OPT_IN_WORDS)
"""The default phrases. They must be the whole message."""
