"""What a staff account may see: permissions, and masks for addresses."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.utils.html import format_html

from engagement.groups import VIEW_CONTACT
from engagement.privacy import mask, redact

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

_JSON: Final = '<pre class="engagement-json" tabindex="0">{}</pre>'
"""The keyboard can scroll it."""
_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class Visibility(NamedTuple):
    """What a staff account may see of a user. The pages do not read the rest."""

    contacts: bool
    users: bool
    """Whether the pages of users can be opened."""
    states: bool
    transitions: bool
    messages: bool
    runs: bool


def visibility_for(request: HttpRequest) -> Visibility:
    """What the staff account of this request may see."""
    may = request.user.has_perm
    return Visibility(
        contacts=may_see_contacts(request),
        users=may("engagement.view_userprofile"),
        states=may("engagement.view_userengagementstate"),
        transitions=may("engagement.view_engagementstatetransition"),
        messages=may("engagement.view_engagementmessage"),
        runs=may("engagement.view_engagementjobrun"),
    )


def may_see_contacts(request: HttpRequest) -> bool:
    """Whether the staff account may see addresses and search by them."""
    return request.user.has_perm(f"engagement.{VIEW_CONTACT}")


def shown_address(address: str | None, *, unmasked: bool) -> str:
    """The address, or its mask."""
    return (address or "") if unmasked else mask(address or "")


def shown_secret(text: str | None, *, unmasked: bool) -> str:
    """An id of the provider, in which a number may be encoded: whole or not at all."""
    return (text or "") if unmasked or not text else "•••••"


def shown_text(text: str | None, *, unmasked: bool) -> str:
    """Text of another program. Anything that looks like an address is replaced unless `unmasked`."""
    return (text or "") if unmasked else redact(text or "")


def shown_person(name: str, *, unmasked: bool, accounts: Collection[str]) -> str:
    """Who performed an action. Names of staff accounts may be e-mail addresses and are always shown."""
    return shown_text(name, unmasked=unmasked or name in accounts)


def shown_json(value: object, *, unmasked: bool) -> str:
    """A JSON column, indented."""
    return format_html(_JSON, json_text(value, unmasked=unmasked, indent=2, sort_keys=True))


def json_text(value: object, *, unmasked: bool, **layout: Any) -> str:
    """JSON of another program. Its texts are read without their escapes, which would hide a number."""
    text = json.dumps(value, ensure_ascii=False, **layout)
    return text if unmasked else redact(_JSON_STRING.sub(_redacted_string, text))


def _redacted_string(literal: re.Match[str]) -> str:
    return json.dumps(redact(json.loads(literal[0])), ensure_ascii=False)
