"""The lists of states, transitions, messages and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.filters import CheckFilter, DayRangeFilter, DueFilter, RunStatusFilter
from engagement.admin.labels import (
    MESSAGE_COLORS,
    RUN_COLORS,
    STATE_COLORS,
    badge,
    run_status_text,
    state_text,
)
from engagement.admin.masking import (
    column,
    may_see_contacts,
    shown_address,
    shown_json,
    shown_metadata,
    shown_secret,
    shown_text,
)
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.admin.support_actions import ARRIVED, CANCEL, MARK_AS_ACTIVE, NOT_ARRIVED, RESUME, RETRY
from engagement.admin.user_page import message_text
from engagement.delivery_wording import delivery_text
from engagement.local_times import shown_time
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    SendingChannel,
    UserEngagementState,
)
from engagement.selectors.job_runs import status_of_run
from engagement.selectors.user_search import locale_of
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.action_views import SupportAction


def _is_queue(request: HttpRequest) -> bool:
    """Whether the list shows pending messages only, which have an index in the order of sending."""
    return request.GET.getlist("status__exact") == [MessageStatus.PENDING.value]


def _shown_errors(errors: Any, *, unmasked: bool) -> str:
    """The users who failed, with links to their pages."""
    if not isinstance(errors, list):
        return shown_json(errors, unmasked=unmasked)
    rows = (
        (
            _link_to_user(error.get("user_id", "unknown"), unmasked=unmasked),
            error.get("check_type", ""),
            shown_text(error.get("error", ""), unmasked=unmasked),
        )
        for error in errors
    )
    return format_html_join("", "<p>{} ({}): {}</p>", rows)


def _link_to_user(user_id: object, *, unmasked: bool = True) -> str:
    try:
        url = reverse("admin:engagement_userprofile_change", args=(UUID(str(user_id)),))
    except ValueError:
        return shown_text(str(user_id), unmasked=unmasked)
    return format_html('<a class="engagement-link" href="{}">{}</a>', url, user_id)


class RowsOfUsersAdmin(ReadOnlyAdmin):
    """A list of rows that belong to one user each."""

    search_fields = ("user__user_id__exact",)
    # Our ids are ordered by time. An index on `created_at` would slow the job down.
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows of the users found, and the row with this id."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        try:
            return found | queryset.filter(pk=UUID(search_term.strip())), may_repeat
        except ValueError:
            return found, may_repeat

    def search_help(self, request: HttpRequest) -> str:
        return f"{super().search_help(request)}, or {self.opts.verbose_name} ID"

    @display(description="user")
    def user_link(self, row: Any) -> str:
        return _link_to_user(row.user_id)


@admin.register(UserEngagementState)
class UserEngagementStateAdmin(RowsOfUsersAdmin, SupportActionsAdmin):
    """The state of each user."""

    counted_as = "user"
    list_display = ("user_link", "state_label", "summary", "last_activity_at")
    list_display_links = None
    list_filter = (
        ("state", ChoicesCheckboxFilter),
        DueFilter,
        ("last_activity_at", DayRangeFilter),
        ("goodbye_expires_at", DayRangeFilter),
        ("remind_at", DayRangeFilter),
    )
    support_actions = (MARK_AS_ACTIVE,)
    timed_columns = ("summary",)
    lines = (
        "user_link",
        "state_label",
        "summary",
        "last_activity_at",
        "goodbye_sent_at",
        "goodbye_expires_at",
        "remind_at",
        "created_at",
        "updated_at",
        "id",
    )

    def useful_actions(self, row: UserEngagementState) -> Collection[SupportAction]:
        return () if row.state == State.ACTIVE else self.support_actions

    def target_id_of(self, row: UserEngagementState) -> UUID:
        return row.user_id

    @display(description="state")
    def state_label(self, row: UserEngagementState) -> str:
        return badge(State(row.state).label, STATE_COLORS[row.state])

    @display(description="summary")
    def summary(self, row: UserEngagementState, *, now: datetime) -> str:
        return state_text(row, now=now)


@admin.register(EngagementStateTransition)
class EngagementStateTransitionAdmin(RowsOfUsersAdmin):
    """The audit log."""

    list_display = ("created_at", "user_link", "from_label", "trigger_label", "to_label")
    list_filter = (
        ("trigger", ChoicesCheckboxFilter),
        ("from_state", ChoicesCheckboxFilter),
        ("to_state", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    lines = (*list_display, "id")
    masked_lines = (("metadata", shown_metadata),)

    @display(description="from")
    def from_label(self, row: EngagementStateTransition) -> str:
        return badge(State(row.from_state).label, STATE_COLORS[row.from_state])

    @display(description="trigger")
    def trigger_label(self, row: EngagementStateTransition) -> str:
        return Trigger(row.trigger).label

    @display(description="to")
    def to_label(self, row: EngagementStateTransition) -> str:
        return badge(State(row.to_state).label, STATE_COLORS[row.to_state])


@admin.register(EngagementMessage)
class EngagementMessageAdmin(RowsOfUsersAdmin, SupportActionsAdmin):
    """The message queue."""

    list_display = ("scheduled_for", "user_link", "message_type", "status_label", "sent_at", "retry_count")
    list_filter = (
        ("status", ChoicesCheckboxFilter),
        ("message_type", ChoicesCheckboxFilter),
        ("scheduled_for", DayRangeFilter),
        ("sent_at", DayRangeFilter),
        ("created_at", DayRangeFilter),
    )
    support_actions = (CANCEL, RETRY, ARRIVED, NOT_ARRIVED)
    lines = (
        "message_type",
        "status_label",
        "delivery",
        "destination",
        "scheduled_for",
        "next_attempt_at",
        "claimed_at",
        "sent_at",
        "delivered_at",
        "read_at",
        "failed_at",
        "retry_count",
        "backend",
        "created_at",
        "id",
    )
    masked_lines = (
        ("message_key", shown_text),
        ("destination_jid", shown_address),
        ("error_message", shown_text),
        ("error_code", shown_text),
        ("outcome_reason", shown_text),
        ("provider_message_id", shown_secret),
        ("message_params", shown_json),
        ("idempotency_key", shown_text),
    )

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        return ("scheduled_for", "id") if _is_queue(request) else self.ordering

    def order_help(self, request: HttpRequest) -> str:
        return "Next to be sent first." if _is_queue(request) else super().order_help(request)

    def useful_actions(self, row: EngagementMessage) -> Collection[SupportAction]:
        useful = {
            MessageStatus.PENDING.value: (CANCEL,),
            MessageStatus.FAILED.value: (RETRY,),
            MessageStatus.UNKNOWN.value: (ARRIVED, NOT_ARRIVED),
        }
        return useful.get(row.status, ())

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """The fields, with the text in the user's language after the user."""
        unmasked = may_see_contacts(request)

        def text(message: EngagementMessage) -> str:
            shown = message_text(message, locale=locale_of(message.user_id))
            return format_html('<p class="engagement-bubble">{}</p>', shown_text(shown, unmasked=unmasked))

        return ["user_link", text, *super().get_fields(request, obj)]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [*self.list_display, column("destination_jid", shown_address, request=request, title="to")]

    @display(description="delivery")
    def delivery(self, row: EngagementMessage) -> str:
        return delivery_text(row, date=shown_time)

    @display(description="status")
    def status_label(self, row: EngagementMessage) -> str:
        return badge(MessageStatus(row.status).label, MESSAGE_COLORS[row.status])


@admin.register(SendingChannel)
class SendingChannelAdmin(SupportActionsAdmin):
    """Pauses and the pace of each backend, and the pauses of its templates."""

    list_display = ("backend", "scope", "paused_until", "pause_reason", "next_slot_at", "updated_at")
    ordering = ("backend", "scope")
    extra_lookups = ()
    support_actions = (RESUME,)
    lines = ("backend", "scope", "paused_until", "next_slot_at", "updated_at", "id")
    masked_lines = (("pause_reason", shown_text),)

    def useful_actions(self, row: SendingChannel) -> Collection[SupportAction]:
        return self.support_actions if row.paused_until else ()

    def back_url(self, row: SendingChannel) -> str:  # noqa: ARG002
        return reverse(f"{self.admin_site.name}:engagement_sendingchannel_changelist")

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        return "By backend."


@admin.register(EngagementJobRun)
class EngagementJobRunAdmin(ReadOnlyAdmin):
    """The runs of the daily job."""

    list_display = (
        "started_at",
        "now",
        "status_label",
        "moved",
        "failed",
        "skipped",
        "finished_at",
        "host",
        "run_id",
    )
    list_filter = (RunStatusFilter, CheckFilter, ("started_at", DayRangeFilter))
    search_fields = ("job_id__exact",)
    ordering = ("-started_at", "-job_id")
    extra_lookups = ()
    timed_columns = ("status_label",)
    lines = (
        "run_id",
        "status_label",
        "now",
        "started_at",
        "last_seen_at",
        "finished_at",
        "processed",
        "moved",
        "failed",
        "skipped",
        "skipped_by_reason",
        "checks",
        "host",
        "pid",
        "version",
    )
    # Errors quote the database and other programs.
    masked_lines = (("errors", _shown_errors), ("failure", shown_text), ("options", shown_json))

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002  the admin's interface
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        try:
            return (queryset.filter(pk=UUID(term)) if term else queryset), False
        except ValueError:
            return queryset.none(), False

    def search_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        return "Run ID"

    @display(description="run ID")
    def run_id(self, run: EngagementJobRun) -> str:
        return str(run.job_id)

    @display(description="moved")
    def moved(self, run: EngagementJobRun) -> int:
        return run.succeeded

    @display(description="status")
    def status_label(self, run: EngagementJobRun, *, now: datetime) -> str:
        status = status_of_run(run, now=now)
        return badge(run_status_text(status), RUN_COLORS[status])
