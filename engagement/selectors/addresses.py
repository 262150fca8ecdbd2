"""Which user a phone number belongs to. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement.models import UserProfile

if TYPE_CHECKING:
    from uuid import UUID

_FORMS: Final = ("{}@s.whatsapp.net", "{}", "+{}", "{}@c.us")
"""How programs write a number into `whatsapp_jid`."""
_BRAZIL: Final = "55"
_WITH_NINTH_DIGIT: Final = 13
_WITHOUT_NINTH_DIGIT: Final = 12


def user_with_number(number: str) -> UUID | None:
    """The user with this number: digits with the country code, as WhatsApp sends them.

    WhatsApp knows many Brazilian mobile numbers without their ninth digit; the number as it was sent wins.
    Of several users with one number it is the oldest.
    """
    for spelling in _spellings(number):
        profiles = UserProfile.objects.filter(whatsapp_jid__in=[form.format(spelling) for form in _FORMS])
        user_id = profiles.order_by("created_at", "user_id").values_list("user_id", flat=True).first()
        if user_id is not None:
            return user_id
    return None


def _spellings(number: str) -> list[str]:
    if number.startswith(_BRAZIL) and number.isdecimal():
        area = number[:4]
        if len(number) == _WITHOUT_NINTH_DIGIT:
            return [number, f"{area}9{number[4:]}"]
        if len(number) == _WITH_NINTH_DIGIT and number[4] == "9":
            return [number, area + number[5:]]
    return [number]
