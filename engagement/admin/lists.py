"""The lists of states, transitions and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin import colors
from engagement.admin.actions import ActingAdmin
from engagement.admin.base import ReadOnlyAdmin
from engagement.admin.filters import DayRangeFilter, DueFilter
from engagement.admin.masking import (
    column,
    may_see_contacts,
    shown_address,
    shown_json,
    shown_metadata,
    shown_text,
)
from engagement.admin.support_actions import BRING_BACK, CANCEL, RETRY
from engagement.admin.user_page import text_of
from engagement.admin.words import state_in_words
from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    UserEngagementState,
)
from engagement.selectors import user_search as people_selectors
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.actions import HandAction

IN_ORDER_OF_IDS: Final = (
    "By id: the newest first. Rows of programs whose ids are not in the order of time stand anywhere;"
    " filter by day to find the newest of them."
)


class OfOneUserAdmin(ReadOnlyAdmin):
    """A list of rows that belong to a user each."""

    search_fields = ("user__user_id__exact",)
    # An index on `created_at` would cost the job time.
    ordering = ("-id",)

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002  for who answers by it
        return IN_ORDER_OF_IDS

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the users who are found so, and the one that has this id itself."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        try:
            return found | queryset.filter(pk=UUID(search_term.strip())), may_repeat
        except ValueError:
            return found, may_repeat

    def search_help(self, request: HttpRequest) -> str:
        return f"{super().search_help(request)}, or {self.opts.verbose_name} id"

    @display(description="user")
    def whose(self, row: Any) -> str:
        url = reverse("admin:engagement_userprofile_change", args=(row.user_id,))
        return format_html('<a class="engagement-link" href="{}">{}</a>', url, row.user_id)


@admin.register(UserEngagementState)
class UserEngagementStateAdmin(OfOneUserAdmin, ActingAdmin):
    """Where users stand."""

    # Each has one.
    counted_as = "user"
    list_display = ("whose", "stands", "in_words", "last_activity_at")
    list_display_links = None
    list_filter = (
        ("state", ChoicesCheckboxFilter),
        DueFilter,
        ("last_activity_at", DayRangeFilter),
        ("goodbye_expires_at", DayRangeFilter),
        ("remind_at", DayRangeFilter),
    )
    hand_actions = (BRING_BACK,)
    timed_columns = ("in_words",)
    lines = (
        "whose",
        "stands",
        "in_words",
        "last_activity_at",
        "goodbye_sent_at",
        "goodbye_expires_at",
        "remind_at",
        "created_at",
        "updated_at",
        "id",
    )

    def fitting(self, row: UserEngagementState) -> Collection[HandAction]:
        return () if row.state == State.ACTIVE else self.hand_actions

    def target_of(self, row: UserEngagementState) -> UUID:
        return row.user_id

    @display(description="state", label=colors.STATES)
    def stands(self, row: UserEngagementState) -> str:
        return State(row.state).label

    @display(description="in words")
    def in_words(self, row: UserEngagementState, *, now: datetime) -> str:
        return state_in_words(row, now=now)


@admin.register(EngagementStateTransition)
class EngagementStateTransitionAdmin(OfOneUserAdmin):
    """How users got where they are: why did this user get this message?"""

    list_display = ("created_at", "whose", "left", "why", "entered")
    list_filter = (
        ("trigger", ChoicesCheckboxFilter),
        ("from_state", ChoicesCheckboxFilter),
        ("to_state", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    lines = ("created_at", "whose", "left", "why", "entered", "id")
    guarded_lines = (("metadata", shown_metadata),)

    @display(description="from", label=colors.STATES)
    def left(self, row: EngagementStateTransition) -> str:
        return State(row.from_state).label

    @display(description="trigger")
    def why(self, row: EngagementStateTransition) -> str:
        return Trigger(row.trigger).label

    @display(description="to", label=colors.STATES)
    def entered(self, row: EngagementStateTransition) -> str:
        return State(row.to_state).label


@admin.register(EngagementMessage)
class EngagementMessageAdmin(OfOneUserAdmin, ActingAdmin):
    """What users were, or will be, sent."""

    list_display = ("scheduled_for", "whose", "message_type", "stands", "sent_at", "retry_count")
    list_filter = (
        ("status", ChoicesCheckboxFilter),
        ("message_type", ChoicesCheckboxFilter),
        ("scheduled_for", DayRangeFilter),
        ("sent_at", DayRangeFilter),
        ("created_at", DayRangeFilter),
    )
    hand_actions = (CANCEL, RETRY)
    lines = (
        "whose",
        "message_type",
        "stands",
        "destination",
        "scheduled_for",
        "sent_at",
        "retry_count",
        "created_at",
        "id",
    )
    guarded_lines = (
        ("message_key", shown_text),
        ("destination_jid", shown_address),
        ("error_message", shown_text),
        ("message_params", shown_json),
        ("idempotency_key", shown_text),
    )

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        return ("scheduled_for", "id") if _are_pending(request) else self.ordering

    def order_help(self, request: HttpRequest) -> str:
        return "What is to be sent first stands first." if _are_pending(request) else IN_ORDER_OF_IDS

    def fitting(self, row: EngagementMessage) -> Collection[HandAction]:
        return {MessageStatus.PENDING.value: (CANCEL,), MessageStatus.FAILED.value: (RETRY,)}.get(
            row.status, ()
        )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """With what the message says, as the user reads it, behind what it is."""
        plain = may_see_contacts(request)

        def text(message: EngagementMessage) -> str:
            locale = people_selectors.locale_of(message.user_id)
            shown = shown_text(text_of(message, locale=locale), plain=plain)
            return format_html('<p class="engagement-bubble">{}</p>', shown)

        return ["whose", text, *super().get_fields(request, obj)[1:]]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [*self.list_display, column("destination_jid", shown_address, request=request, title="to")]

    @display(description="status", label=colors.MESSAGES)
    def stands(self, row: EngagementMessage) -> str:
        return MessageStatus(row.status).label


def _are_pending(request: HttpRequest) -> bool:
    """Whether the list is the queue, which has an index in the order in which it is sent."""
    return request.GET.getlist("status__exact") == [MessageStatus.PENDING.value]
