"""Find users, and read what the admin shows of one. Nothing here writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from unicodedata import category, decimal, normalize

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.db.models.functions import Reverse
from django.utils.translation import gettext_noop

from engagement.addresses import endings, spellings
from engagement.models import NUMBER, EngagementMessage, EngagementStateTransition, UserProfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

MAX_FOUND: Final = 200
"""Users found by a part of an address."""

MARKED_AS_ACTIVE: Final = gettext_noop("Marked as active.")
"""How the admin's log names the one support action that the audit log has too."""

_AROUND: Final = re.compile(
    r"\A(?:(?:https?://)?wa\.me/"
    r"|(?:whatsapp:/|(?:https?://)?(?:api|web)\.whatsapp\.com)/send/?\?(?:.*&)?phone=|tel:|whatsapp:)"
    r"|(?::\d+)?@(?:s\.whatsapp\.net|c\.us)\Z",
    re.IGNORECASE,
)
_OF_LINK: Final = re.compile(r"(?<=\d)/?[?&#].*", re.DOTALL)
"""What follows the number in a link."""
_PHONE_NUMBER: Final = re.compile(r"(?:\(?0[xX]{2})?\+?[\d\s()./-]+")
_DIALLED: Final = re.compile(r"\A0{1,2}(?=\d{8})|(?<=\A55)0(?=\d{10})")
"""Zeros that are dialled before a number or, in Brazil, before the area code. Those of fewer digits belong to
an ending."""
_CARRIER: Final = re.compile(r"\A0(?:[1-9]\d|xx)(?=[1-9]{2}(?:9\d{8}|[2-9]\d{7})\Z)", re.IGNORECASE)
"""In Brazil, the carrier that is dialled before an area code and a number, or `xx` for any of them."""


class FoundUsers(NamedTuple):
    """Users found by a part of an address."""

    user_ids: list[UUID]
    has_more: bool
    """Whether more than MAX_FOUND addresses have this part."""


def users_with_address(text: str) -> FoundUsers:
    """Users whose JID begins with `text`, or whose number begins or ends with it.

    A phone number may be a link, have spaces, punctuation, a plus and what is dialled before it, and lack its
    country or area code; a Brazilian one may lack its ninth digit, or have it. Four digits are enough for an
    ending.
    """
    text = _plain(text)
    digits = _digits(text)
    found: dict[UUID, None] = {}
    for condition in [*_beginnings(digits or text), *_endings(digits)]:
        # In the order of the index. Any other order would sort all matching rows.
        users = UserProfile.objects.alias(reversed_number=Reverse(NUMBER)).filter(condition)
        found |= dict.fromkeys(users.values_list("user_id", flat=True)[: MAX_FOUND + 1])
    user_ids = list(found)
    return FoundUsers(user_ids[:MAX_FOUND], has_more=len(user_ids) > MAX_FOUND)


def _plain(text: str) -> str:
    """The text in ASCII as far as it is a phone number: without invisible signs, with one kind of hyphen."""
    return "".join(_plain_sign(sign) for sign in normalize("NFKC", text)).strip()


def _plain_sign(sign: str) -> str:
    if sign.isdecimal():
        return str(decimal(sign))
    if sign == "\N{MINUS SIGN}" or category(sign) == "Pd":
        return "-"
    return "" if category(sign) == "Cf" else sign


def _digits(text: str) -> str:
    """The digits of a phone number as WhatsApp knows it; empty if the text is something else."""
    number = _OF_LINK.sub("", _AROUND.sub("", text).replace("%2B", "+"))
    if not _PHONE_NUMBER.fullmatch(number):
        return ""
    digits = _CARRIER.sub("", re.sub(r"[^\dxX]", "", number.replace("(0)", "")))
    return _DIALLED.sub("", _DIALLED.sub("", digits))


def _beginnings(text: str) -> list[Q]:
    # PostgreSQL cannot store a zero character.
    if not text or "\0" in text:
        return []
    return [Q(whatsapp_jid__startswith=spelling) for spelling in spellings(text)]


def _endings(digits: str) -> list[Q]:
    return [Q(reversed_number__startswith=ending[::-1]) for ending in endings(digits)]


def has_history(user_id: UUID) -> bool:
    """Whether the audit log or the queue has rows of the user. Both outlive the profile."""
    transitions = EngagementStateTransition.objects.filter(user_id=user_id)
    return transitions.exists() or EngagementMessage.objects.filter(user_id=user_id).exists()


def latest_messages(user_id: UUID, *, count: int) -> list[EngagementMessage]:
    """The user's latest messages, the latest first."""
    messages = EngagementMessage.objects.filter(user_id=user_id)
    return list(messages.order_by("-created_at", "-id")[:count])


def support_actions(user_id: UUID, *, count: int) -> list[LogEntry]:
    """The latest support actions on the user that made no transition, the latest first."""
    kind = ContentType.objects.get_for_model(UserProfile)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(user_id))
    entries = entries.exclude(change_message=MARKED_AS_ACTIVE)
    return list(entries.select_related("user").order_by("-action_time", "-id")[:count])


def account_names_among(names: Iterable[str]) -> set[str]:
    """Those of the names that belong to accounts, active or not."""
    accounts = get_user_model()
    column = accounts.USERNAME_FIELD
    found = accounts._default_manager.filter(**{f"{column}__in": set(names) - {""}})  # noqa: SLF001  Django's API
    return set(found.values_list(column, flat=True))
