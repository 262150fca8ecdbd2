"""What of a user somebody may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engagement.admin.masking import may_see_contacts

if TYPE_CHECKING:
    from django.http import HttpRequest


class Sight(NamedTuple):
    """The permissions on which a user's pages depend. What is not seen is not read either."""

    contacts: bool
    states: bool
    moves: bool
    messages: bool
    runs: bool


def sight_of(request: HttpRequest) -> Sight:
    """What the person who asks may see."""
    may = request.user.has_perm
    return Sight(
        contacts=may_see_contacts(request),
        states=may("engagement.view_userengagementstate"),
        moves=may("engagement.view_engagementstatetransition"),
        messages=may("engagement.view_engagementmessage"),
        runs=may("engagement.view_engagementjobrun"),
    )
