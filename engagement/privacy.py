"""Hides addresses and phone numbers, which must not reach a log or a report. Pure."""

from __future__ import annotations

import re
from typing import Final

CODE: Final = "^(?!.*[0-9]{8})[a-z0-9_]{1,64}$"
"""A regular expression of PostgreSQL: a code such as `too_old` or `131026`.

It has no spaces, as a sentence has, and no eight digits in a row, as a phone number has.
"""

# The length is bounded, so that the time for a text without an address is linear in its length.
_ADDRESS: Final = r"""[^\s'"(),;<>=:[\]{}]{1,320}@[\w-]+(?:\.[\w-]+)*"""

# Digits that are not phone numbers, and that a log needs.
_UUID: Final = r"[0-9a-f]{8} (?:-[0-9a-f]{4}){3} -[0-9a-f]{12}"
_DATE: Final = r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME: Final = r"[012]\d:[0-5]\d (?: :[0-5]\d (?:[.,]\d{1,9})? )? (?: Z | [+-]\d\d(?::?\d\d)? )?"
_TIMESTAMP: Final = rf"{_DATE} (?:[T\ ]{_TIME})?"
_DURATION: Final = r"\d{1,4}:[0-5]\d:[0-5]\d (?:\.\d{1,6})? | \d{1,6}\.\d{1,9}\ ?(?:ms|s|seconds?)"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IP_ADDRESS: Final = rf"(?!\d\d(?:\.\d\d){{3}}\b) {_OCTET}(?:\.{_OCTET}){{3}} (?!\.\d)"
_KEPT: Final = rf"{_UUID} | {_TIMESTAMP} | {_DURATION} | {_IP_ADDRESS}"

# Eight digits or more in any grouping, without those of a UUID or a timestamp that follows.
_INVISIBLE: Final = (
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]*"
)
"""Any number of signs that take no room: control characters, and what Unicode lets a program ignore."""
_SEPARATOR: Final = (
    r"(?:[^\S\r\n]|[()+.\-\u2010-\u2015\u2212]|%2[089BDE]|%09|%C2%A[0D]|%E2%8[01]%[89AB][0-9A-F])"
)
"""Also as a query string has it: a plus sign for a space, and %28 for a parenthesis."""
_BETWEEN_DIGITS: Final = rf"{_INVISIBLE}(?:{_SEPARATOR}{_INVISIBLE}){{0,3}}"
_MORE_DIGITS: Final = rf"(?: {_BETWEEN_DIGITS} (?!(?<!\w)(?:{_UUID}|{_TIMESTAMP})(?!\w)) \d ){{7,}}"
_NUMBER: Final = rf"(?: \((?=\+?\d{{1,4}}\)) )? (?: \+ | %2B )? \d {_MORE_DIGITS}"

_API_KEY: Final = r"eng_[\w-]{20,}"
"""A token of the HTTP API. A web framework may log the header of a request that has it in a wrong place."""

_PATTERN: Final = re.compile(
    rf"(?P<token>{_API_KEY}) | (?P<address>{_ADDRESS})"
    rf" | (?<![\w.])(?P<kept>{_KEPT})(?![\w@]) | (?P<number>{_NUMBER})",
    re.VERBOSE | re.IGNORECASE,
)

_SHOWN: Final = ((13, 4), (9, 2))
"""Pairs: from this number of digits on, so many are shown at either end."""


def mask(address: str) -> str:
    """Enough of a JID to recognise it: `5511•••••0042`.

    Shows the country and area code and the last digits. A shorter number shows fewer digits, so that at
    least five stay hidden; a very short one shows none. The server name is never shown.
    """
    number = re.split("[:@]", address, maxsplit=1)[0]
    shown = next((shown for length, shown in _SHOWN if len(number) >= length), 0)
    if not shown:
        return "•••••" if address else ""
    return f"{number[:shown]}•••••{number[-shown:]}"


def redact(text: str) -> str:
    """Replace everything in `text` that looks like a JID, an e-mail address, a phone number or a token."""
    return _PATTERN.sub(lambda match: match["kept"] or f"[{match.lastgroup}]", text)
