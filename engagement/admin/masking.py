"""Who may see an address, and what the others see instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.utils.html import format_html

from engagement.groups import VIEW_CONTACT
from engagement.privacy import mask, redact
from engagement.selectors import user_history
from engagement.selectors import user_search as people_selectors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.http import HttpRequest


_JSON: Final = '<pre class="engagement-json">{}</pre>'


def may_see_contacts(request: HttpRequest) -> bool:
    """Whether addresses are shown to this person, and searched for."""
    return request.user.has_perm(f"engagement.{VIEW_CONTACT}")


def shown_address(address: str | None, *, plain: bool) -> str:
    """The address, masked unless `plain`."""
    return (address or "") if plain else mask(address or "")


def shown_text(text: str | None, *, plain: bool) -> str:
    """What another program wrote, which may hold anything."""
    return (text or "") if plain else redact(text or "")


def shown_person(name: str, *, plain: bool, accounts: Collection[str]) -> str:
    """Who did something. A colleague's name, which may be an e-mail address, is for all to see."""
    return shown_text(name, plain=plain or name in accounts)


def shown_json(value: object, *, plain: bool) -> str:
    """A JSON column, readable: in lines, and indented."""
    return format_html(_JSON, shown_text(_lines_of(value), plain=plain))


def shown_metadata(metadata: object, *, plain: bool) -> str:
    """What is known of a move, with the name of the colleague who made it."""
    person = user_history.performer(metadata)
    if plain or person not in people_selectors.accounts_among([person]):
        return shown_json(metadata, plain=plain)
    named = f'"performed_by": {_lines_of(person)}'
    return format_html(_JSON, named.join(map(redact, _lines_of(metadata).split(named))))


def _lines_of(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def column(
    name: str, show: Callable[..., str], *, request: HttpRequest, title: str = ""
) -> Callable[[Any], str]:
    """A column of a list, or a line of a page, as far as this person may see it."""
    plain = may_see_contacts(request)

    def shown(row: Any) -> str:
        return show(getattr(row, name), plain=plain)

    shown.__name__ = name
    shown.short_description = title or name.replace("_", " ")  # type: ignore[attr-defined]  # for the admin
    return shown
