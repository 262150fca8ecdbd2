"""Times as the admin shows them: in the active time zone, which is the account's, with UTC in the tooltip."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from engagement.formatting import date_text, day_text, fill, moment_text, short_moment_text

if TYPE_CHECKING:
    from collections.abc import Callable


class ShownTime(SafeString):
    """A time as HTML. A download has `instant` instead, in UTC."""

    instant: datetime


def shown_time(instant: datetime | None, *, note: str = "") -> str:
    """`1 July 1998, 03:00`; the tooltip says UTC, and `note`."""
    return _in_words(instant, moment_text, note=note) if instant else date_text(None)


def shown_as(instant: datetime, text: str) -> str:
    """The text; the tooltip has the time, in the active zone and in UTC."""
    local, utc = local_text(instant), date_text(instant)
    return _element(instant, text, tooltip=utc if local == utc else f"{local} ({utc})")


def shown_short_time(instant: datetime) -> str:
    """`Wed 1 Jul, 03:00`, with the year if it is not the present one; the tooltip says UTC."""
    return _in_words(instant, partial(short_moment_text, now=timezone.localtime()))


def local_text(instant: datetime) -> str:
    """`1 July 1998, 03:00` as plain text, for titles."""
    return _local(instant, moment_text)


def shown_range(first: datetime | None, last: datetime | None) -> str:
    """The days of a filter: `from 1 July 1998 to 3 July 1998`; empty without an end."""
    if first and last:
        return fill(_("from %(first)s to %(last)s"), first=day_text(first), last=day_text(last))
    if first:
        return fill(_("from %(first)s"), first=day_text(first))
    return fill(_("to %(last)s"), last=day_text(last)) if last else ""


def local_zone_name() -> str:
    """The name of the time zone that the pages use, such as `America/Sao_Paulo`."""
    return timezone.get_current_timezone_name()


def _in_words(instant: datetime, words: Callable[[datetime], str], *, note: str = "") -> str:
    text = _local(instant, words)
    tooltip = f"{date_text(instant)} ({note})" if note else date_text(instant)
    return _element(instant, text, tooltip=tooltip)


def _element(instant: datetime, text: str, *, tooltip: str) -> ShownTime:
    iso = instant.astimezone(UTC).isoformat()
    shown = ShownTime(format_html('<time datetime="{}" title="{}">{}</time>', iso, tooltip, text))
    shown.instant = instant
    return shown


def _local(instant: datetime, words: Callable[[datetime], str]) -> str:
    text = words(timezone.localtime(instant))
    return f"{text} UTC" if local_zone_name() == "UTC" else text
