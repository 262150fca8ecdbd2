"""WhatsApp addresses and the phone numbers in them. Pure.

WhatsApp knows many Brazilian mobile numbers without their ninth digit, and people write them with it.
"""

from __future__ import annotations

import re
from typing import Final

MIN_DIGITS: Final = 5
MAX_DIGITS: Final = 15
"""Of a phone number with its country code (E.164)."""
_OF_A_PERSON: Final = frozenset({"", "s.whatsapp.net", "c.us"})
_OF_A_GROUP: Final = "g.us"
_BRAZIL: Final = "55"
_AREA_END: Final = 4
_MOBILE: Final = re.compile(r"(9?)([6-9][0-9]{7})")
"""A Brazilian mobile number without its area code: its ninth digit, if it has it, and the others.

Only numbers that began with 6 to 9 got a ninth digit, from 2012 to 2016. Landlines begin with 2 to 5 and have
eight: Anatel's numbering plan, and libphonenumber's data for Brazil. A 9 before 0 to 5 is part of a newer
mobile number, which never had eight digits.
"""
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


def is_group(address: str) -> bool:
    """Whether the address is a group's."""
    return address.strip().casefold().endswith(f"@{_OF_A_GROUP}")


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
    """`rest` is a mobile number with or without its ninth digit; any other is left as it is."""
    mobile = _MOBILE.fullmatch(rest)
    if mobile is None:
        return [area + rest]
    ninth, others = mobile.groups()
    return [area + rest, f"{area}{others}" if ninth else f"{area}9{others}"]


def canonical(address: str) -> str:
    """One form for all spellings of an address, by which a person is recognised."""
    number = number_of(address)
    return max(spellings(number), key=len) if number else address.strip().casefold()
