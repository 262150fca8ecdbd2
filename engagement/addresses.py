"""WhatsApp addresses and the phone numbers in them. Pure.

WhatsApp knows many Brazilian mobile numbers without their ninth digit, and people write them with it.
"""

from __future__ import annotations

from typing import Final

MIN_DIGITS: Final = 5
MAX_DIGITS: Final = 15
"""Of a phone number with its country code (E.164)."""
_OF_A_PERSON: Final = frozenset({"", "s.whatsapp.net", "c.us"})
_BRAZIL: Final = "55"
_AREA_END: Final = 4
_LOCAL: Final = 8
"""Digits of a Brazilian number without its area code and its ninth digit."""
_WITH_AREA: Final = (10, 11)
SHORTEST_ENDING: Final = 4


def number_of(address: str) -> str | None:
    """The phone number of an address such as 5511987654321@s.whatsapp.net.

    None for a group, and for an anonymous id (`@lid`), whose digits may be another person's number.
    """
    user, _, server = address.strip().partition("@")
    if server not in _OF_A_PERSON:
        return None
    digits = "".join(filter(str.isdecimal, user.partition(":")[0]))
    return digits if digits.isascii() and MIN_DIGITS <= len(digits) <= MAX_DIGITS else None


def spellings(number: str) -> list[str]:
    """The number, and a Brazilian mobile number also with or without its ninth digit."""
    if not (number.startswith(_BRAZIL) and number.isdecimal()):
        return [number]
    return _with_and_without_ninth(number[:_AREA_END], number[_AREA_END:])


def endings(digits: str) -> list[str]:
    """The possible endings of a number given without its country or area code, such as `11 99999-0042`.

    A Brazilian mobile number is also looked for with or without its ninth digit. Empty for fewer than four
    digits.
    """
    if len(digits) < SHORTEST_ENDING:
        return []
    area = digits[:2] if len(digits) in _WITH_AREA else ""
    return _with_and_without_ninth(area, digits.removeprefix(area))


def _with_and_without_ninth(area: str, rest: str) -> list[str]:
    """`rest` has eight digits, or nine of which the first is a 9; any other is left as it is."""
    number = area + rest
    if len(rest) == _LOCAL:
        return [number, f"{area}9{rest}"]
    if len(rest) == _LOCAL + 1 and rest.startswith("9"):
        return [number, area + rest[1:]]
    return [number]


def canonical(address: str) -> str:
    """One form for all spellings of an address, by which a person is recognised."""
    number = number_of(address)
    return max(spellings(number), key=len) if number else address.strip().casefold()
