"""Finding people, and what happened to one of them. Nothing here writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from engagement.models import EngagementMessage, EngagementStateTransition, UserProfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

FOUND_AT_MOST: Final = 200
"""Users by the beginning of an address; who wants one of more types more of it."""

_PHONE_NUMBER: Final = re.compile(r"\+?[\d\s().-]+")


class FoundUsers(NamedTuple):
    """Users by the beginning of an address."""

    user_ids: list[UUID]
    has_more: bool
    """Whether more addresses begin so than FOUND_AT_MOST."""


def users_with_address(text: str) -> FoundUsers:
    """Users whose JID is `text` or begins so; a phone number may be written with spaces and a plus."""
    beginning = re.sub(r"\D", "", text) if _PHONE_NUMBER.fullmatch(text) else text
    # No text in PostgreSQL holds a zero character.
    if not beginning or "\0" in beginning:
        return FoundUsers([], has_more=False)
    found = UserProfile.objects.filter(whatsapp_jid__startswith=beginning)
    # In the index's order. To ask for one would sort all that begin so.
    user_ids = list(found.values_list("user_id", flat=True)[: FOUND_AT_MOST + 1])
    return FoundUsers(user_ids[:FOUND_AT_MOST], has_more=len(user_ids) > FOUND_AT_MOST)


def is_remembered(user_id: UUID) -> bool:
    """Whether the history or the queue knows the user: both outlive the profile."""
    moves = EngagementStateTransition.objects.filter(user_id=user_id)
    return moves.exists() or EngagementMessage.objects.filter(user_id=user_id).exists()


def locale_of(user_id: UUID) -> str | None:
    """The user's locale, unless the profile is gone."""
    return UserProfile.objects.filter(pk=user_id).values_list("locale", flat=True).first()


def latest_messages(user_id: UUID, *, count: int) -> list[EngagementMessage]:
    """The user's latest messages, the latest first."""
    messages = EngagementMessage.objects.filter(user_id=user_id)
    return list(messages.order_by("-created_at", "-id")[:count])


def manual_actions(user_id: UUID, *, count: int) -> list[LogEntry]:
    """What people did for the user in the admin, apart from moving them; the latest first."""
    kind = ContentType.objects.get_for_model(UserProfile)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(user_id))
    return list(entries.select_related("user").order_by("-action_time", "-id")[:count])


def accounts_among(names: Iterable[str]) -> set[str]:
    """Those of the names that belong to people who may log in, or once might."""
    asked = set(names) - {""}
    return set(User.objects.filter(username__in=asked).values_list("username", flat=True))
