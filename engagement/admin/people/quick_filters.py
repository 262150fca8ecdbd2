"""Links above the list of users to the filters that support uses every day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext as _

from engagement.admin.change_list import quick_links_to
from engagement.admin.filters import CameBackFilter, DueFilter, UsersMessageFilter, now_of
from engagement.admin.masking import visibility_for
from engagement.models import MessageStatus
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from engagement.admin.change_list import QuickLink

WEEK = timedelta(days=7)


def quick_links(request: HttpRequest) -> list[QuickLink]:
    """The links that the staff account may use."""
    return quick_links_to(request, _queries(request))


def _queries(request: HttpRequest) -> Iterator[tuple[str, dict[str, str]]]:
    may = visibility_for(request)
    week_ago = (timezone.localdate(now_of(request)) - WEEK).isoformat()
    yield _("All"), {}
    if may.states:
        yield _("Due at the next run"), {DueFilter.parameter_name: DueFilter.ANY}
        yield _("Waiting for a reply"), {"engagement_state__state__exact": State.GOODBYE_SENT.value}
    if may.messages:
        yield _("Message failed"), {UsersMessageFilter.parameter_name: MessageStatus.FAILED.value}
    opted_out = {"reengagement_opt_out__exact": "1", "opt_out_changed_at_from": week_ago}
    yield _("Opted out this week"), opted_out
    if may.states and may.transitions:
        yield _("Came back this week"), {CameBackFilter.parameter_name: "7"}
