"""How far a user's goodbye came, in words, with a colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _

from engagement.models import MessageStatus
from engagement.selectors.goodbyes import goodbye_key
from engagement.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import UserEngagementState
    from engagement.selectors.goodbyes import Goodbye
    from engagement.selectors.user_history import UserStatus


class Fate(NamedTuple):
    """How far a goodbye came."""

    text: Any
    color: str
    at: datetime | None = None


_FATES: Final = {
    MessageStatus.PENDING.value: (_("not sent yet"), "info"),
    MessageStatus.SENDING.value: (_("being sent"), "primary"),
    MessageStatus.UNKNOWN.value: (_("perhaps sent"), "warning"),
    MessageStatus.FAILED.value: (_("failed"), "danger"),
    MessageStatus.CANCELLED.value: (_("cancelled"), ""),
}
NOT_QUEUED: Final = Fate(_("not in the queue"), "warning")


def fate_of_goodbye(
    goodbye: Goodbye | None, user_state: UserEngagementState | UserStatus | None, *, user_id: object
) -> Fate | None:
    """How far the user's newest goodbye came; of a waiting user, that of this wait."""
    if _is_missing(goodbye, user_state, user_id=user_id):
        return NOT_QUEUED
    if goodbye is None:
        return None
    if goodbye.status == MessageStatus.SENT:
        return _fate_of_sent(goodbye)
    text, color = _FATES[goodbye.status]
    return Fate(text, color, goodbye.claimed_at or goodbye.created_at)


def _fate_of_sent(goodbye: Goodbye) -> Fate:
    if goodbye.read_at:
        return Fate(_("read"), "success", goodbye.read_at)
    if goodbye.delivered_at:
        return Fate(_("delivered"), "success", goodbye.delivered_at)
    if goodbye.failed_at:
        return Fate(_("not delivered"), "danger", goodbye.failed_at)
    return Fate(_("sent"), "success", goodbye.sent_at or goodbye.claimed_at)


def _is_missing(
    goodbye: Goodbye | None, user_state: UserEngagementState | UserStatus | None, *, user_id: object
) -> bool:
    """Whether the user waits, and the newest goodbye is not that of the wait: some senders delete rows."""
    if user_state is None or user_state.state != State.GOODBYE_SENT or user_state.goodbye_sent_at is None:
        return False
    began_at = user_state.goodbye_sent_at
    if goodbye is None:
        return True
    return goodbye.created_at < began_at and goodbye.idempotency_key != goodbye_key(
        str(user_id), now=began_at
    )
