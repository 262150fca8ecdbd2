"""The list of runs, and the page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from engagement.admin import links
from engagement.admin.export import ExportColumn
from engagement.admin.filters import CheckFilter, DayRangeFilter, RunStatusFilter, now_of
from engagement.admin.labels import RUN_COLORS, badge, run_status_text
from engagement.admin.read_only_admin import ReadOnlyAdmin, reader_of, time_column
from engagement.admin.runs.run_report import run_report
from engagement.admin.runs.undo_view import UNDO_PERMISSION, undo_command, undo_view
from engagement.formatting import duration_text, number_text
from engagement.local_times import local_text
from engagement.models import EngagementJobRun, RunStatus
from engagement.selectors.job_runs import duration_of, status_of_run, with_undone

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


@admin.register(EngagementJobRun)
class EngagementJobRunAdmin(ReadOnlyAdmin):
    """The runs of the daily job."""

    list_display = (
        "as_of",
        "status_label",
        "moved",
        "failed_users",
        "skipped_users",
        "undone",
        "duration",
        "started",
    )
    list_filter = (RunStatusFilter, CheckFilter, ("started_at", DayRangeFilter))
    search_fields = ("job_id__exact",)
    ordering = ("-started_at", "-job_id")
    export_order = ("started_at", "job_id")
    no_match = gettext_lazy("No runs match.")
    extra_lookups = ()
    fields = ("job_id",)
    change_form_template = "engagement/run.html"
    as_of = time_column("now", gettext_lazy("as of"))
    started = time_column("started_at", gettext_lazy("started at"))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.undo)
        return [
            path("<uuid:run_id>/undo/", view, name="engagement_engagementjobrun_undo"),
            *super().get_urls(),
        ]

    def undo(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """Show what an undo would do, and do it once confirmed."""
        return undo_view(self, request, run_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[EngagementJobRun]:
        return with_undone(super().get_queryset(request))

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        now = now_of(request)
        return [
            ExportColumn(_("as of"), lambda run: run.now),
            ExportColumn(_("started at"), lambda run: run.started_at),
            ExportColumn(_("finished at"), lambda run: run.finished_at),
            ExportColumn(_("status"), lambda run: status_of_run(run, now=now)),
            ExportColumn(_("moved"), lambda run: run.succeeded),
            ExportColumn(_("failed"), lambda run: run.failed),
            ExportColumn(_("skipped"), lambda run: run.skipped),
            ExportColumn(_("undone"), lambda run: run.undone),
            ExportColumn(_("host"), lambda run: run.host),
            ExportColumn(_("ID"), lambda run: run.pk),
        ]

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
        return _("Run ID")

    def row_name(self, row: EngagementJobRun) -> str:
        return local_text(row.now)

    def page_context(self, request: HttpRequest, row: EngagementJobRun) -> dict[str, Any]:
        may, now = reader_of(row)
        return {
            "report": run_report(row, now=now, visibility=may),
            "title": _("Run of %(date)s") % {"date": self.row_name(row)},
            "moved_url": links.transitions_of_run(row.pk) if may.transitions else "",
            "undo_url": self._undo_url(request, row),
            "undo_command": undo_command(row.pk),
        }

    def _undo_url(self, request: HttpRequest, run: EngagementJobRun) -> str:
        # A run that was killed may have moved more users than the ledger knows.
        may_have_moved = run.succeeded or run.status == RunStatus.RUNNING
        if not (request.user.has_perm(UNDO_PERMISSION) and may_have_moved):
            return ""
        return reverse(f"{self.admin_site.name}:engagement_engagementjobrun_undo", args=(run.pk,))

    @display(description=gettext_lazy("status"))
    def status_label(self, run: EngagementJobRun) -> str:
        status = status_of_run(run, now=reader_of(run).now)
        return badge(run_status_text(status), RUN_COLORS[status])

    @display(description=gettext_lazy("moved"))
    def moved(self, run: EngagementJobRun) -> str:
        number = number_text(run.succeeded)
        if not (run.succeeded and reader_of(run).visibility.transitions):
            return number
        url = links.transitions_of_run(run.pk)
        return format_html('<a class="engagement-link" href="{}">{}</a>', url, number)

    @display(description=gettext_lazy("failed"))
    def failed_users(self, run: EngagementJobRun) -> str:
        return number_text(run.failed)

    @display(description=gettext_lazy("skipped"))
    def skipped_users(self, run: EngagementJobRun) -> str:
        return number_text(run.skipped)

    @display(description=gettext_lazy("undone"))
    def undone(self, run: Any) -> str:
        return number_text(run.undone)

    @display(description=gettext_lazy("duration"))
    def duration(self, run: EngagementJobRun) -> str:
        return duration_text(duration_of(run, now=reader_of(run).now), units=2)
