"""The list of runs, and the page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
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
from engagement.admin.masking import visibility_for
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.admin.runs.run_report import run_report
from engagement.admin.runs.undo_view import UNDO_PERMISSION, undo_command, undo_view
from engagement.formatting import duration_text, number_text
from engagement.local_times import local_text
from engagement.models import EngagementJobRun
from engagement.selectors.job_runs import duration_of, status_of_run, with_undone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

_COUNTS: Final = {
    "moved": gettext_lazy("moved"),
    "failed": gettext_lazy("failed"),
    "skipped": gettext_lazy("skipped"),
    "undone": gettext_lazy("undone"),
}
_FIELDS: Final = {"moved": "succeeded"}


@admin.register(EngagementJobRun)
class EngagementJobRunAdmin(ReadOnlyAdmin):
    """The runs of the daily job."""

    columns = ("now", "status_label", "moved", "failed", "skipped", "undone", "duration", "started_at")
    list_filter = (RunStatusFilter, CheckFilter, ("started_at", DayRangeFilter))
    search_fields = ("job_id__exact",)
    ordering = ("-started_at", "-job_id")
    export_order = ("started_at", "job_id")
    no_match = gettext_lazy("No runs match.")
    extra_lookups = ()
    timed_columns = ("status_label", "duration")
    lines = ("job_id",)
    change_form_template = "engagement/run.html"

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

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        counts = {name: _count_column(name) for name in ("failed", "skipped", "undone")}
        counts["moved"] = _moved_link if visibility_for(request).transitions else _count_column("moved")
        return [counts.get(name, name) for name in super().get_list_display(request)]

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

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        run = context["original"]
        run.shown_name = local_text(run.now)
        may = visibility_for(request)
        report = run_report(run, now=now_of(request), visibility=may)
        context |= {
            "report": report,
            "title": _("Run of %(date)s") % {"date": run.shown_name},
            "subtitle": None,
            "moved_url": links.transitions_of_run(run.pk) if may.transitions else "",
            "undo_url": self._undo_url(request, run),
            "undo_command": undo_command(run.pk),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _undo_url(self, request: HttpRequest, run: EngagementJobRun) -> str:
        if not (request.user.has_perm(UNDO_PERMISSION) and run.succeeded):
            return ""
        return reverse(f"{self.admin_site.name}:engagement_engagementjobrun_undo", args=(run.pk,))

    @display(description=gettext_lazy("duration"))
    def duration(self, run: EngagementJobRun, *, now: datetime) -> str:
        return duration_text(duration_of(run, now=now), units=2)

    @display(description=gettext_lazy("status"))
    def status_label(self, run: EngagementJobRun, *, now: datetime) -> str:
        status = status_of_run(run, now=now)
        return badge(run_status_text(status), RUN_COLORS[status])


def _count_column(name: str) -> Callable[[Any], str]:
    """A column with a number."""

    @display(description=_COUNTS[name])
    def count(run: Any) -> str:
        return number_text(getattr(run, _FIELDS.get(name, name)))

    count.__name__ = name
    return count


@display(description=_COUNTS["moved"])
def _moved_link(run: EngagementJobRun) -> str:
    if not run.succeeded:
        return "0"
    return format_html(
        '<a class="engagement-link" href="{}">{}</a>',
        links.transitions_of_run(run.pk),
        number_text(run.succeeded),
    )
