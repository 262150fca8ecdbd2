"""How users are named: by their number as the reader may see it, or by a short id. Never by a bare UUID."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from engagement.admin import links
from engagement.admin.masking import may_see_contacts
from engagement.privacy import mask
from engagement.selectors.people import addresses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest

_SHOWS_A_DIGIT: Final = re.compile(r"\w")


def short_id(row_id: object) -> str:
    """The end of an id: ids that are ordered by time begin alike. Pages show the whole id on hover."""
    return f"…{str(row_id)[-8:]}"


def person_name(user_id: object, address: str | None, *, unmasked: bool) -> str:
    """The number, or its mask; a short id for a user whose address shows nothing."""
    address = (address or "").strip()
    name = re.split("[:@]", address, maxsplit=1)[0] if unmasked else mask(address)
    return name if _SHOWS_A_DIGIT.search(name) else short_id(user_id)


def person_link(user_id: object, address: str | None, *, unmasked: bool) -> str:
    """The name with a link to the page of the user. The title has the whole id."""
    name = person_name(user_id, address, unmasked=unmasked)
    try:
        url = links.user_url(UUID(str(user_id)))
    except ValueError:
        return name
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


def person_column(request: HttpRequest) -> Callable[[Any], str]:
    """The column with the user of a row."""
    unmasked = may_see_contacts(request)

    def user_link(row: Any) -> str:
        return person_link(row.user_id, _address(row), unmasked=unmasked)

    user_link.short_description = _("user")  # type: ignore[attr-defined]  # for the admin
    return user_link


def _address(row: Any) -> str | None:
    if "address_of_user" not in vars(row):
        remember_addresses([row])
    address: str | None = row.address_of_user
    return address
