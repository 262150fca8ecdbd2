"""The catalogue of messages: the text of each key in each language. Pure, except for Django's translations.

The texts in this file are English. Their translations are in `locale/`, where the key is the context
(`msgctxt`) of each entry. A parameter is written `%(name)s`.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from django.utils import translation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

GOODBYE: Final = "engagement.goodbye.self_select"
HELP: Final = "engagement.reply.help"
SEE_YOU_IN_TWO_WEEKS: Final = "engagement.reply.see_you_in_two_weeks"
"""Its number of days comes from ENGAGEMENT_REMIND_AFTER_DAYS."""
SEE_YOU_TOMORROW: Final = "engagement.reply.see_you_tomorrow"
"""The same for one day."""
DOOR_IS_OPEN: Final = "engagement.reply.door_is_open"
OPTED_OUT: Final = "engagement.reply.opted_out"
OPTED_IN: Final = "engagement.reply.opted_in"

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"pt": "pt-br", "en": "en"})
"""The supported languages, with the variety in which each is written."""

DEFAULT_LANGUAGE: Final = "pt-br"

_texts: Final[dict[str, str]] = {
    GOODBYE: (
        "Hi! It's been a while since we talked, and that's perfectly fine."
        " Just so I know what suits you:\n"
        "\n"
        "1. It got confusing, I could use some help\n"
        "2. I'm busy, let's leave it for later\n"
        "3. All good, I don't need anything right now\n"
        "\n"
        "Just reply with 1, 2 or 3. Saying nothing is all right too:"
        " I'll keep quiet, and I'm here whenever you write.\n"
        "\n"
        'To get no more messages like this one, reply "stop".'
    ),
    HELP: (
        "No problem, we'll sort it out together. Tell me in your own words what got confusing or what"
        " you'd like to do, and we'll take it one step at a time."
    ),
    SEE_YOU_IN_TWO_WEEKS: (
        "Got it, no rush! I won't disturb you. If you haven't written in %(days)s days, I'll go on keeping"
        " quiet; whenever you need me, just write."
    ),
    SEE_YOU_TOMORROW: (
        "Got it, no rush! I won't disturb you. If you haven't written by tomorrow, I'll go on keeping quiet;"
        " whenever you need me, just write."
    ),
    DOOR_IS_OPEN: (
        "Glad to hear it! I won't disturb you. The door is open: whenever you need me, just write."
    ),
    OPTED_OUT: (
        "Done, I won't write to you on my own any more. If you write, I'll answer as always,"
        ' and if you change your mind, just send "start".'
    ),
    OPTED_IN: (
        "All set! If we don't talk for a while, I may drop you a short line."
        ' If you change your mind, just send "stop".'
    ),
}

_PLACES: Final = re.compile(r"%%|%\((\w+)\)s")
_END_OF_LANGUAGE: Final = re.compile(r"[-_.@]")


class UnknownMessageKey(Exception):
    """The catalogue has no message with this key."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no message {key[:80]!r}; known are {', '.join(message_keys())}."
            " Others have to be added with register_message() first."
        )
        self.key = key


class WrongMessageParameters(Exception):
    """Parameters of the text are missing, or there are parameters that the text does not use."""

    def __init__(self, key: str, *, missing: Collection[str], unexpected: Collection[str]) -> None:
        problems = [f"{name!r} is missing" for name in sorted(missing)]
        problems += [f"{name[:80]!r} is not in the text" for name in sorted(unexpected)]
        super().__init__(f"Wrong parameters for the message {key!r}: {', '.join(problems)}.")
        self.key = key


class WrongTranslation(Exception):
    """The translation of a message has other parameters than its text."""

    def __init__(self, key: str, *, language: str) -> None:
        super().__init__(
            f"The translation of {key!r} in {language} has other parameters than the text; correct django.po."
        )
        self.key = key


def message_keys() -> list[str]:
    """The keys of all messages that can be queued, in alphabetical order."""
    return sorted(_texts)


def register_message(*, key: str, text: str) -> None:
    """Add a message of another app to the catalogue, so that it can be queued.

    Call it from `AppConfig.ready`. `text` is in English; its translations are in that app's `locale/`,
    with the key as context. Repeatable. Raises ValueError for a key that already has another text, and
    for a text with a stray percent sign.
    """
    if _texts.get(key, text) != text:
        raise ValueError(f"{key!r} already has another text.")
    if "%" in _PLACES.sub("", text):
        raise ValueError(
            f"The text of {key!r} has a stray percent sign: write %% or a parameter such as %(name)s."
        )
    _texts[key] = text


def parameters_of(text: str) -> frozenset[str]:
    """The names of the parameters in `text`."""
    return frozenset(filter(None, _PLACES.findall(text)))


def parameters_of_message(key: str) -> frozenset[str]:
    """The names of the parameters of a message. Raises UnknownMessageKey."""
    if key not in _texts:
        raise UnknownMessageKey(key)
    return parameters_of(_texts[key])


def is_translated(key: str, *, language: str) -> bool:
    """Whether a message has a text of its own in one of LANGUAGES; the texts in this file are English."""
    return language == LANGUAGES["en"] or _text_in(language, key) != _texts[key]


def check_message(*, key: str, params: Collection[str]) -> None:
    """Check the key and the parameters of a message; raises what `render` raises."""
    if key not in _texts:
        raise UnknownMessageKey(key)
    wanted = parameters_of(_texts[key])
    if wanted != set(params):
        raise WrongMessageParameters(key, missing=wanted - set(params), unexpected=set(params) - wanted)
    for language in LANGUAGES.values():
        if parameters_of(_text_in(language, key)) != wanted:
            raise WrongTranslation(key, language=language)


def render(*, key: str, locale: str, params: Mapping[str, object]) -> str:
    """The text of a message in the language of `locale`; Brazilian Portuguese if that is not supported.

    Raises UnknownMessageKey, WrongMessageParameters and WrongTranslation.
    """
    check_message(key=key, params=params.keys())
    return _text_in(language_of(locale), key) % params


def _text_in(language: str, key: str) -> str:
    with translation.override(language):
        return translation.pgettext(key, _texts[key])


def language_of(locale: str) -> str:
    """The language of the messages to a user with this locale: `en` for `en_GB`, `pt-br` for `pt`."""
    language = _END_OF_LANGUAGE.split(locale.strip().lower(), maxsplit=1)[0]
    return LANGUAGES.get(language, DEFAULT_LANGUAGE)
