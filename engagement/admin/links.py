"""URLs of the admin's lists and pages. A list that moves changes here alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils.http import urlencode

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    from engagement.models import MessageStatus
    from engagement.states import Check, State

_LISTS: Final = {
    "users": "userprofile",
    "transitions": "engagementstatetransition",
    "messages": "engagementmessage",
    "pauses": "sendingchannel",
    "runs": "engagementjobrun",
}
"""The model behind each list."""


def list_url(name: str, **filters: Any) -> str:
    """The list with these filters, as its query names them; a filter may have several values."""
    url = reverse(f"admin:engagement_{_LISTS[name]}_changelist")
    return f"{url}?{urlencode(filters, doseq=True)}" if filters else url


def users_in_state(state: State) -> str:
    return list_url("users", engagement_state__state__exact=state.value)


def users_due(check: Check) -> str:
    """The users whom a check would move at the next run."""
    return list_url("users", due=check.name)


def messages_with(status: MessageStatus) -> str:
    return list_url("messages", status__exact=status.value)


def transitions_between(first: date, last: date, **filters: str | list[str]) -> str:
    """The transitions from the first day to the last, in the active time zone."""
    days = {"created_at_from": first.isoformat(), "created_at_to": last.isoformat()}
    return list_url("transitions", **days, **filters)


def transitions_of_run(job_id: UUID) -> str:
    """The users whom a run moved."""
    return list_url("transitions", run=job_id)


def user_url(user_id: UUID) -> str:
    """The page of a user."""
    return reverse("admin:engagement_userprofile_change", args=(user_id,))


def message_url(message_id: UUID | str) -> str:
    """The page of a message."""
    return reverse("admin:engagement_engagementmessage_change", args=(message_id,))


def manual_actions_on(row_id: UUID | str) -> str:
    """The list of manual actions on a user or another row."""
    return f"{reverse('admin:admin_logentry_changelist')}?{urlencode({'object_id__exact': str(row_id)})}"


def run_url(job_id: UUID) -> str:
    """The page of a run."""
    return reverse("admin:engagement_engagementjobrun_change", args=(job_id,))


def message_texts_url() -> str:
    """The list of the texts that messages have."""
    return reverse("admin:engagement_message_texts")


def message_text_url(key: str) -> str:
    """The page of the text with this key. Raises NoReverseMatch for an empty key."""
    return reverse("admin:engagement_message_text", args=(key,))
