"""Who may see an address, and what the others see instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.utils.html import format_html

from engagement.groups import VIEW_CONTACT
from engagement.privacy import mask, redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest


def may_see_contacts(request: HttpRequest) -> bool:
    """Whether addresses are shown to this person, and searched for."""
    return request.user.has_perm(f"engagement.{VIEW_CONTACT}")


def shown_address(address: str | None, *, plain: bool) -> str:
    """The address, masked unless `plain`."""
    return (address or "") if plain else mask(address or "")


def shown_text(text: str | None, *, plain: bool) -> str:
    """What another program wrote, which may hold anything."""
    return (text or "") if plain else redact(text or "")


def shown_json(value: object, *, plain: bool) -> str:
    """A JSON column, readable: in lines, and indented."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="engagement-json">{}</pre>', shown_text(text, plain=plain))


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
