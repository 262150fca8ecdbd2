"""Arguments of the services that an assistant calls, checked and converted where they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from engagement.models.choices import EARLIEST, LATEST
from engagement.states import require_aware

if TYPE_CHECKING:
    from datetime import datetime


def as_user_id(user_id: UUID | str) -> UUID:
    """The id as a UUID. Raises ValueError for anything else, and does not repeat it: it may be a number."""
    try:
        return user_id if isinstance(user_id, UUID) else UUID(str(user_id))
    except ValueError:
        raise ValueError("user_id must be a UUID, or the text of one.") from None


def require_text(text: str) -> None:
    """Raise ValueError for what is no text, such as the None of a picture without a caption."""
    if not isinstance(text, str):
        raise ValueError("text must be a string; pass an empty one for a message without words.")  # noqa: TRY004


def require_storable(instant: datetime) -> None:
    """Raise ValueError for a time that no column holds: without an offset, or not from 1970 to 2999."""
    require_aware(instant)
    if not EARLIEST <= instant < LATEST:
        raise ValueError(f"{instant!r} is out of range; pass a time from 1970 to 2999.")
