"""Which user a phone number belongs to. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engagement.addresses import spellings
from engagement.models import UserProfile

if TYPE_CHECKING:
    from uuid import UUID

_FORMS: Final = ("{}@s.whatsapp.net", "{}", "+{}", "{}@c.us")
"""How programs write a number into `whatsapp_jid`."""


def user_with_number(number: str) -> UUID | None:
    """The user with this number: digits with the country code, as WhatsApp sends them.

    WhatsApp knows many Brazilian mobile numbers without their ninth digit; the number as it was sent wins.
    Of several users with one number it is the oldest.
    """
    for spelling in spellings(number):
        profiles = UserProfile.objects.filter(whatsapp_jid__in=[form.format(spelling) for form in _FORMS])
        user_id = profiles.order_by("created_at", "user_id").values_list("user_id", flat=True).first()
        if user_id is not None:
            return user_id
    return None
