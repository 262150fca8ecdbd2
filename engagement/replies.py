"""What a user's words mean to the engine: an answer to the goodbye, a wish to be left alone. Pure."""

from __future__ import annotations

import re
import string
import unicodedata
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from engagement.states import UserState


class Preference(StrEnum):
    """What a user wants of messages that they did not ask for."""

    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"


REPLIES: Final[Mapping[str, Trigger]] = MappingProxyType(
    {
        "1": Trigger.GOODBYE_RESPONSE_1,
        "confuso": Trigger.GOODBYE_RESPONSE_1,
        "confusa": Trigger.GOODBYE_RESPONSE_1,
        "confused": Trigger.GOODBYE_RESPONSE_1,
        "2": Trigger.GOODBYE_RESPONSE_2,
        "ocupado": Trigger.GOODBYE_RESPONSE_2,
        "ocupada": Trigger.GOODBYE_RESPONSE_2,
        "busy": Trigger.GOODBYE_RESPONSE_2,
        "3": Trigger.GOODBYE_RESPONSE_3,
        "tudo certo": Trigger.GOODBYE_RESPONSE_3,
        "all good": Trigger.GOODBYE_RESPONSE_3,
    }
)
"""The answers to a goodbye, as `plain_words` writes them. Anything else is a message like any other."""

PREFERENCES: Final[Mapping[str, Preference]] = MappingProxyType(
    {
        "parar": Preference.OPTED_OUT,
        "stop": Preference.OPTED_OUT,
        "sair": Preference.OPTED_OUT,
        "cancelar mensagens": Preference.OPTED_OUT,
        "voltar": Preference.OPTED_IN,
        "start": Preference.OPTED_IN,
    }
)
"""The phrases that opt out and in: the whole message, never a part of a sentence."""

LONGEST_PHRASE: Final = 100
"""Characters, spaces counted once: what is longer is a sentence, and is not looked at."""

_HEART: Final = re.compile(r"<3(?!>)")
"""Without its punctuation it would be an answer that sends away whoever likes us most."""

_DROPPED: Final = frozenset({"Mn", "Me", "Cf", "Cc", "Cs"})
"""Unicode categories of what sits on or between letters unseen: the keycap of 1️⃣, joiners, controls."""


def trigger_of(text: str, *, user_state: UserState, heard_at: datetime) -> Trigger:
    """What a message is to the state machine: an answer to the goodbye, or just a message.

    Only somebody who has been told goodbye can answer it, and not before they were told.
    """
    told_at = user_state.goodbye_sent_at
    if user_state.state != State.GOODBYE_SENT or told_at is None or heard_at < told_at:
        return Trigger.USER_MESSAGE
    return REPLIES.get(plain_words(text), Trigger.USER_MESSAGE)


def preference_in(text: str) -> Preference | None:
    """The wish that the whole text is, if it is one."""
    return PREFERENCES.get(plain_words(text))


def plain_words(text: str) -> str:
    """The text as the tables above write it: plain lower-case characters, words one space apart.

    Punctuation and odd spaces separate words; the empty string where it is too long for a phrase, or
    has a heart in it that punctuation draws.
    """
    spaced = " ".join(text.split())
    if len(spaced) > LONGEST_PHRASE:
        return ""
    normal = unicodedata.normalize("NFKC", spaced).casefold()
    if _HEART.search(normal):
        return ""
    return " ".join("".join(map(_plain, normal)).split())


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category in _DROPPED:
        return ""
    return " " if category[0] in "PZ" or character in string.punctuation else character
