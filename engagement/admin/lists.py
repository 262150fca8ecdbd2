"""The lists of transitions and pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.export import ExportColumn
from engagement.admin.filters import DayRangeFilter, PersonFilter, RunFilter
from engagement.admin.labels import STATE_COLORS, badge
from engagement.admin.masking import json_text, may_see_contacts, shown_json, shown_text
from engagement.admin.read_only_admin import reader_of, text_column, time_column
from engagement.admin.rows_of_users import RowsOfUsersAdmin
from engagement.admin.support_actions import RESUME
from engagement.delivery_wording import until_text
from engagement.local_times import shown_time
from engagement.models import EngagementStateTransition, SendingChannel
from engagement.selectors.audit_log import with_undoing
from engagement.services.delivery.channels import WITHOUT_END
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.action_views import SupportAction


@admin.register(EngagementStateTransition)
class EngagementStateTransitionAdmin(RowsOfUsersAdmin):
    """The audit log."""

    list_display = ("created", "user_link", "from_label", "trigger_label", "to_label")
    columns_of_run = ("user_link", "trigger_label", "from_label", "to_label", "undone_label", "created")
    # The first column of the list of a run has a link of its own.
    list_display_links = ("created",)
    list_filter = (
        ("trigger", ChoicesCheckboxFilter),
        ("from_state", ChoicesCheckboxFilter),
        ("to_state", ChoicesCheckboxFilter),
        RunFilter,
        PersonFilter,
        ("created_at", DayRangeFilter),
    )
    fields = (*list_display, "id", "details")
    no_match = gettext_lazy("No transitions match.")
    created = time_column("created_at", gettext_lazy("created at"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[EngagementStateTransition]:
        return with_undoing(super().get_queryset(request))

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        """The columns; of the list of a run, the users first, and whether they were put back."""
        return self.columns_of_run if RunFilter.parameter_name in request.GET else self.list_display

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        unmasked = may_see_contacts(request)
        return [
            ExportColumn(str(_("created at")), lambda row: row.created_at),
            *self.user_columns(request),
            ExportColumn(str(_("from")), lambda row: row.from_state),
            ExportColumn(str(_("trigger")), lambda row: row.trigger),
            ExportColumn(str(_("to")), lambda row: row.to_state),
            ExportColumn(str(_("undone at")), lambda row: row.undone_at),
            ExportColumn(
                str(_("metadata")),
                lambda row: json_text(row.metadata, unmasked=unmasked),
            ),
            ExportColumn(str(_("ID")), lambda row: row.pk),
        ]

    @display(description=gettext_lazy("from"))
    def from_label(self, row: EngagementStateTransition) -> str:
        return badge(State(row.from_state).label, STATE_COLORS[row.from_state])

    @display(description=gettext_lazy("trigger"))
    def trigger_label(self, row: EngagementStateTransition) -> str:
        return str(Trigger(row.trigger).label)

    @display(description=gettext_lazy("to"))
    def to_label(self, row: EngagementStateTransition) -> str:
        return badge(State(row.to_state).label, STATE_COLORS[row.to_state])

    @display(description=gettext_lazy("undone"))
    def undone_label(self, row: EngagementStateTransition) -> str:
        undone_at: datetime | None = row.undone_at  # type: ignore[attr-defined]  # an annotation
        return shown_time(undone_at) if undone_at else _("no")

    @display(description=gettext_lazy("metadata"))
    def details(self, row: EngagementStateTransition) -> str:
        return shown_json(row.metadata, unmasked=reader_of(row).unmasked)


@admin.register(SendingChannel)
class SendingChannelAdmin(SupportActionsAdmin):
    """Pauses and the pace of each backend, and the pauses of its templates."""

    list_display = ("backend_name", "scope_name", "paused", "reason", "next_slot", "updated")
    ordering = ("backend", "scope")
    extra_lookups = ()
    support_actions = (RESUME,)
    counted_as = "pause"
    fields = (*list_display, "slowed", "resumed", "id")
    backend_name = text_column("backend", gettext_lazy("backend"))
    scope_name = text_column("scope", gettext_lazy("scope"))
    reason = text_column("pause_reason", gettext_lazy("pause reason"))
    next_slot = time_column("next_slot_at", gettext_lazy("next slot at"))
    updated = time_column("updated_at", gettext_lazy("updated at"))
    slowed = time_column("slowed_until", gettext_lazy("slowed until"))
    resumed = time_column("resumed_at", gettext_lazy("resumed at"))

    def row_name(self, row: SendingChannel) -> str:
        return shown_text(str(row), unmasked=reader_of(row).unmasked)

    def perform(self, request: HttpRequest, action: SupportAction, rows: Collection[Any]) -> None:
        """Act once on each backend: the pauses of a backend end together."""
        super().perform(request, action, {row.backend: row for row in rows}.values())

    def useful_actions(self, row: SendingChannel) -> Collection[SupportAction]:
        return self.support_actions if row.paused_until or row.slowed_until else ()

    def back_url(self, request: HttpRequest, row: SendingChannel) -> str:  # noqa: ARG002
        return reverse(f"{self.admin_site.name}:engagement_sendingchannel_changelist")

    def order_help(self, request: HttpRequest) -> str:  # noqa: ARG002
        return _("By backend.")

    @display(description=gettext_lazy("paused until"))
    def paused(self, row: SendingChannel) -> str | None:
        until = row.paused_until
        if until is None:
            return None
        return until_text(until) if until >= WITHOUT_END else shown_time(until)
