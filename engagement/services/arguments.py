"""Arguments of the services that an assistant calls, checked and converted where they come in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

from engagement.models.choices import EARLIEST, LATEST
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.db.models import TextChoices

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_UNSTORABLE_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")
"""In JSON a NUL is an escape, unless the backslash is itself escaped."""


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
    """Raise ValueError for what no column of times holds: without an offset, or not from 1970 to 2999."""
    require_aware(instant)
    if not EARLIEST <= instant < LATEST:
        raise ValueError(f"{instant!r} is out of range; pass a time from 1970 to 2999.")


def require_storable_text(text: object, *, name: str) -> None:
    """Raise ValueError for a text that no column holds, and do not repeat it: it may be a number."""
    if not isinstance(text, str) or _UNSTORABLE.search(text):
        raise ValueError(f"{name} must be a string without NUL and without half an emoji.")


def require_storable_params(params: Mapping[str, object]) -> None:
    """Raise ValueError for parameters that no column holds; ValueError or TypeError for what is no JSON."""
    if _UNSTORABLE_IN_JSON.search(json.dumps(dict(params), allow_nan=False, ensure_ascii=False)):
        raise ValueError("message_params must have no NUL and no half of an emoji.")


def require_choice(value: str, choices: type[TextChoices], *, name: str) -> None:
    """Raise ValueError for what is none of the choices, and do not repeat it."""
    if value not in choices.values:
        raise ValueError(f"{name} must be one of {', '.join(choices.values)}.")
