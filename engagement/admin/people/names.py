"""How users are named: by their number as the reader may see it, or by a short id. Never by a bare UUID."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from django.utils.html import format_html
from django.utils.text import Truncator

from engagement.admin import links
from engagement.privacy import mask

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.admin.masking import Visibility

MAX_LENGTH: Final = 30
"""Of a name. Numbers and the ids of groups are shorter; other programs may have stored anything."""
_SHOWS_A_DIGIT: Final = re.compile(r"\w")


def short_id(row_id: object) -> str:
    """The end of an id: ids that are ordered by time begin alike. Pages show the whole id on hover."""
    return f"…{str(row_id)[-8:]}"


def person_name(user_id: object, address: str | None, *, unmasked: bool) -> str:
    """The number, or its mask; a short id for a user whose address shows nothing."""
    address = (address or "").strip()
    name = re.split("[:@]", address, maxsplit=1)[0] if unmasked else mask(address)
    name = Truncator(name).chars(MAX_LENGTH)
    return name if _SHOWS_A_DIGIT.search(name) else short_id(user_id)


def person_link(user_id: UUID, address: str | None, *, visibility: Visibility) -> str:
    """The name, with a link to the page of the user if the reader may open it. The title has the whole id."""
    name = person_name(user_id, address, unmasked=visibility.contacts)
    if not visibility.users:
        return format_html('<span title="{}">{}</span>', user_id, name)
    url = links.user_url(user_id)
    return format_html('<a class="engagement-link" href="{}" title="{}">{}</a>', url, user_id, name)
