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
_WITH_NINTH_DIGIT: Final = 13
_WITHOUT_NINTH_DIGIT: Final = 12
_AREA_END: Final = 4
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
    if number.startswith(_BRAZIL) and number.isdecimal():
        area, rest = number[:_AREA_END], number[_AREA_END:]
        if len(number) == _WITHOUT_NINTH_DIGIT:
            return [number, f"{area}9{rest}"]
        if len(number) == _WITH_NINTH_DIGIT and rest.startswith("9"):
            return [number, area + rest[1:]]
    return [number]


def endings(digits: str) -> list[str]:
    """How a number may end that people say without its country or area code, such as `11 99999-0042`.

    A Brazilian mobile number is also looked for with or without its ninth digit. Empty for fewer than four
    digits.
    """
    if len(digits) < SHORTEST_ENDING:
        return []
    without_ninth, with_ninth = (8, 10), (9, 11)
    area = digits[:2] if len(digits) in {10, 11} else ""
    rest = digits.removeprefix(area)
    if len(digits) in without_ninth:
        return [digits, f"{area}9{rest}"]
    if len(digits) in with_ninth and rest.startswith("9"):
        return [digits, area + rest[1:]]
    return [digits]


def canonical(address: str) -> str:
    """One form for all spellings of an address, by which a person is recognised."""
    number = number_of(address)
    return max(spellings(number), key=len) if number else address.strip().casefold()
