"""What must never reach a log or a report: addresses and phone numbers. Pure."""

from __future__ import annotations

import re
from typing import Final

# The length has a bound, so that a long text without an address costs no more than its length.
_ADDRESS: Final = r"""[^\s'"(),;<>=:[\]{}]{1,320}@[\w-]+(?:\.[\w-]+)*"""

# Many digits that are nobody's number, and that a log is worth little without.
_UUID: Final = r"[0-9a-f]{8} (?:-[0-9a-f]{4}){3} -[0-9a-f]{12}"
_DATE: Final = r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME: Final = r"[012]\d:[0-5]\d (?: :[0-5]\d (?:[.,]\d{1,9})? )? (?: Z | [+-]\d\d(?::?\d\d)? )?"
_TIMESTAMP: Final = rf"{_DATE} (?:[T\ ]{_TIME})?"
_DURATION: Final = r"\d{1,4}:[0-5]\d:[0-5]\d (?:\.\d{1,6})? | \d{1,6}\.\d{1,9}\ ?(?:ms|s|seconds?)"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IP_ADDRESS: Final = rf"(?!\d\d(?:\.\d\d){{3}}\b) {_OCTET}(?:\.{_OCTET}){{3}} (?!\.\d)"
_KEPT: Final = rf"{_UUID} | {_TIMESTAMP} | {_DURATION} | {_IP_ADDRESS}"

# Eight digits or more, however they are grouped, but none of a UUID or timestamp that follows them.
_BETWEEN_DIGITS: Final = r"(?:[^\S\r\n]|[().\-\u2010-\u2015\u2212]){0,3}"
_MORE_DIGITS: Final = rf"(?: {_BETWEEN_DIGITS} (?!(?<!\w)(?:{_UUID}|{_TIMESTAMP})(?!\w)) \d ){{7,}}"
_NUMBER: Final = rf"(?: \((?=\+?\d{{1,4}}\)) )? \+?\d {_MORE_DIGITS}"

_PATTERN: Final = re.compile(
    rf"(?P<address>{_ADDRESS}) | (?<![\w.])(?P<kept>{_KEPT})(?![\w@]) | (?P<number>{_NUMBER})",
    re.VERBOSE | re.IGNORECASE,
)

_SHOWN: Final = ((13, 4), (9, 2))
"""From how many digits on how many are shown at either end."""


def mask(address: str) -> str:
    """So much of a JID that a person who knows it recognises it: `5511•••••0042`.

    Country and area code, and the last digits; of a shorter one less, so that at least five digits stay
    hidden; of a short one nothing, nor where it is.
    """
    number = re.split("[:@]", address, maxsplit=1)[0]
    shown = next((shown for length, shown in _SHOWN if len(number) >= length), 0)
    if not shown:
        return "•••••" if address else ""
    return f"{number[:shown]}•••••{number[-shown:]}"


def redact(text: str) -> str:
    """`text` without anything that looks like a JID, an e-mail address or a phone number."""
    return _PATTERN.sub(lambda match: match["kept"] or f"[{match.lastgroup}]", text)
