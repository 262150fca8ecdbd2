"""Whom somebody searches for in a list, and what they should know of what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from engagement.selectors import user_search as people_selectors
from engagement.selectors.user_search import FOUND_AT_MOST

if TYPE_CHECKING:
    from collections.abc import Collection

BY_ID: Final = "User id"
BY_ID_OR_ADDRESS: Final = "User id, or beginning of a WhatsApp number"

BY_ID_ALONE: Final = (
    "You can search by a whole id only: numbers are for those who may see them. Nobody was looked for."
)
TOO_MANY: Final = (
    f"More than {FOUND_AT_MOST} numbers begin so, and only {FOUND_AT_MOST} of these users were looked at:"
    " type more of the number to find the others."
)


class Search(NamedTuple):
    """Who was found."""

    user_ids: Collection[UUID]
    note: str = ""
    """What the person should know of it."""


def find_users(term: str, *, by_address: bool) -> Search:
    """The user of this id, or those whose address begins so, by indexes alone."""
    try:
        return Search([UUID(term)])
    except ValueError:
        if not by_address:
            return Search((), BY_ID_ALONE)
    found = people_selectors.users_with_address(term)
    return Search(found.user_ids, TOO_MANY if found.has_more else "")
