"""Which user a phone number belongs to, and a user's address and language. Nothing here writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models.functions import Reverse

from engagement.addresses import number_of, spellings
from engagement.models import NUMBER, Destination, UserProfile

if TYPE_CHECKING:
    from uuid import UUID


def user_with_number(number: str) -> UUID | None:
    """The user with this number: digits with the country code, as WhatsApp sends them.

    Found however a program has written the number into `whatsapp_jid`, and with or without the Brazilian
    ninth digit; the number as it was sent wins. Of several users with one number it is the oldest.
    """
    for spelling in spellings(number):
        # Reversed, because that is what the index has.
        profiles = UserProfile.objects.alias(reversed_number=Reverse(NUMBER))
        found = profiles.filter(reversed_number=spelling[::-1]).order_by("created_at", "user_id")
        for user_id, address in found.values_list("user_id", "whatsapp_jid"):
            # Not a group, nor an anonymous id that has the same digits.
            if address and number_of(address) == spelling:
                return user_id
    return None


def address_of(user_id: UUID) -> str:
    """The address of the user; empty if there is none, or no profile."""
    address = UserProfile.objects.filter(pk=user_id).values_list("whatsapp_jid", flat=True).first()
    return address or ""


def locale_of(user_id: UUID) -> str | None:
    """The user's locale; None without a profile."""
    return UserProfile.objects.filter(pk=user_id).values_list("locale", flat=True).first()


def wants_messages_in_group(user_id: UUID) -> bool:
    """Whether the group is this user's preferred destination."""
    return UserProfile.objects.filter(pk=user_id, preferred_destination=Destination.GROUP).exists()
