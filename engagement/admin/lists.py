"""The lists of transitions, pauses and runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.export import ExportColumn
from engagement.admin.filters import CheckFilter, DayRangeFilter, RunStatusFilter
from engagement.admin.labels import RUN_COLORS, STATE_COLORS
from engagement.admin.masking import may_see_contacts, shown_json, shown_metadata, shown_text
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.admin.rows_of_users import RowsOfUsersAdmin
from engagement.admin.support_actions import RESUME
from engagement.models import EngagementJobRun, EngagementStateTransition, SendingChannel
from engagement.selectors.job_runs import status_of_run
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.action_views import SupportAction


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


@admin.register(EngagementStateTransition)
class EngagementStateTransitionAdmin(RowsOfUsersAdmin):
    """The audit log."""

    columns = ("created_at", "user_link", "from_label", "trigger_label", "to_label")
    list_filter = (
        ("trigger", ChoicesCheckboxFilter),
        ("from_state", ChoicesCheckboxFilter),
        ("to_state", ChoicesCheckboxFilter),
        ("created_at", DayRangeFilter),
    )
    lines = (*columns, "id")
    masked_lines = (("metadata", shown_metadata),)
    no_match = _("No transitions match.")

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        unmasked = may_see_contacts(request)
        return [
            ExportColumn("created at", lambda row: row.created_at),
            *self.user_columns(request),
            ExportColumn("from", lambda row: row.from_state),
            ExportColumn("trigger", lambda row: row.trigger),
            ExportColumn("to", lambda row: row.to_state),
            ExportColumn("metadata", lambda row: shown_text(json.dumps(row.metadata), unmasked=unmasked)),
            ExportColumn("id", lambda row: row.pk),
        ]

    @display(description="from", label=STATE_COLORS)
    def from_label(self, row: EngagementStateTransition) -> str:
        return State(row.from_state).label

    @display(description="trigger")
    def trigger_label(self, row: EngagementStateTransition) -> str:
        return Trigger(row.trigger).label

    @display(description="to", label=STATE_COLORS)
    def to_label(self, row: EngagementStateTransition) -> str:
        return State(row.to_state).label


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
    export_order = ("started_at", "job_id")
    no_match = _("No runs match.")
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

    @display(description="status", label=RUN_COLORS)
    def status_label(self, run: EngagementJobRun, *, now: datetime) -> str:
        return status_of_run(run, now=now)
