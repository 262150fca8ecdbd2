"""The list of runs of the daily job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from engagement.admin import colors
from engagement.admin.base import ReadOnlyAdmin
from engagement.admin.filters import CheckFilter, DayRangeFilter, OutcomeFilter
from engagement.admin.masking import shown_json, shown_text
from engagement.models import EngagementJobRun
from engagement.selectors.job_runs import status_of_run

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest


def _who_failed(errors: Any, *, plain: bool) -> str:
    """Each with the page of the user, who may look quite well to whoever only reads the error."""
    if not isinstance(errors, list):
        return shown_json(errors, plain=plain)
    return format_html_join(
        "",
        "<p>{} ({}): {}</p>",
        (
            (
                _linked(str(error.get("user_id", "unknown")), plain=plain),
                error.get("check_type", ""),
                shown_text(error.get("error", ""), plain=plain),
            )
            for error in errors
        ),
    )


def _linked(user_id: str, *, plain: bool) -> str:
    try:
        url = reverse("admin:engagement_userprofile_change", args=(UUID(user_id),))
    except ValueError:
        return shown_text(user_id, plain=plain)
    return format_html('<a class="engagement-link" href="{}">{}</a>', url, user_id)


@admin.register(EngagementJobRun)
class EngagementJobRunAdmin(ReadOnlyAdmin):
    """What each run of the daily job did."""

    list_display = (
        "started_at",
        "now",
        "outcome",
        "succeeded",
        "failed",
        "skipped",
        "finished_at",
        "host",
        "job_id",
    )
    list_filter = (OutcomeFilter, CheckFilter, ("started_at", DayRangeFilter))
    search_fields = ("job_id__exact",)
    ordering = ("-started_at", "-job_id")
    may_be_asked = ()
    timed_columns = ("outcome",)
    lines = (
        "job_id",
        "outcome",
        "now",
        "started_at",
        "last_seen_at",
        "finished_at",
        "processed",
        "succeeded",
        "failed",
        "skipped",
        "skipped_by_reason",
        "checks",
        "host",
        "pid",
        "version",
    )
    # Errors repeat what the database or another program said.
    guarded_lines = (("errors", _who_failed), ("failure", shown_text), ("options", shown_json))

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
        return "Job id"

    @display(description="status", label=colors.RUNS)
    def outcome(self, run: EngagementJobRun, *, now: datetime) -> str:
        """The status, or `vanished`."""
        return status_of_run(run, now=now)
