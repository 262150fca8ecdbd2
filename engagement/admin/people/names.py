"""How users are named: by their number as the reader may see it, or by a short id. Never by a bare UUID."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from engagement.admin import links
from engagement.admin.masking import visibility_for
from engagement.privacy import mask
from engagement.selectors.people import addresses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from django.http import HttpRequest

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


def remember_addresses(rows: Iterable[Any]) -> None:
    """Look up the addresses of the users of all rows in one statement, for `person_column`."""
    rows = list(rows)
    addresses = addresses_of({row.user_id for row in rows})
    for row in rows:
        row.address_of_user = addresses.get(row.user_id)


def name_of_user(row: Any, *, unmasked: bool) -> str:
    """The name of the user of a row."""
    return person_name(row.user_id, _address(row), unmasked=unmasked)


def link_to_user(row: Any, *, visibility: Visibility) -> str:
    """The name of the user of a row, with a link if the reader may open the page of the user."""
    return person_link(row.user_id, _address(row), visibility=visibility)


def person_column(request: HttpRequest) -> Callable[[Any], str]:
    """The column with the user of a row."""
    visibility = visibility_for(request)

    def user_link(row: Any) -> str:
        return link_to_user(row, visibility=visibility)

    user_link.short_description = _("user")  # type: ignore[attr-defined]  # for the admin
    return user_link


def _address(row: Any) -> str | None:
    if "address_of_user" not in vars(row):
        remember_addresses([row])
    address: str | None = row.address_of_user
    return address
