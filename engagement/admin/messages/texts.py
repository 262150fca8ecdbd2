"""What a message says to its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from engagement.message_catalogue import UnknownMessageKey, WrongMessageParameters, WrongTranslation, render

if TYPE_CHECKING:
    from engagement.models import EngagementMessage


def error_text(message: EngagementMessage) -> str:
    """What the error says beside the reason and the code; empty if it only repeats them."""
    error = message.error_message or ""
    return "" if error == f"{message.outcome_reason} ({message.error_code})" else error


def message_text(message: EngagementMessage, *, locale: str | None) -> str:
    """The text of a message in the user's language, or the reason why it is unknown."""
    if locale is None:
        template = _("(Text of %(key)s: the language is unknown because the user has no profile.)")
        return template % {"key": message.message_key}
    # Other programs may store any JSON value.
    params = message.message_params if isinstance(message.message_params, dict) else {}
    try:
        return render(key=message.message_key, locale=locale, params=params)
    except UnknownMessageKey:
        return _("(The text of %(key)s belongs to another program.)") % {"key": message.message_key}
    except (WrongMessageParameters, WrongTranslation):
        return _("(The text of %(key)s needs other parameters.)") % {"key": message.message_key}
