"""The message queue: status, reason and error of each message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import CheckboxFilter, ChoicesCheckboxFilter
from unfold.decorators import display

from engagement.admin import links
from engagement.admin.action_views import SupportActionsAdmin
from engagement.admin.change_list import quick_links_to
from engagement.admin.export import ExportColumn
from engagement.admin.filters import DayRangeFilter
from engagement.admin.labels import MESSAGE_COLORS, badge, moment
from engagement.admin.masking import may_see_contacts, shown_text
from engagement.admin.messages.catalogue import MessageTextsAdmin
from engagement.admin.messages.message_page import message_page
from engagement.admin.messages.texts import error_text
from engagement.admin.read_only_admin import reader_of
from engagement.admin.rows_of_users import RowsOfUsersAdmin
from engagement.admin.support_actions import ARRIVED, CANCEL, NOT_ARRIVED, RETRY
from engagement.delivery_wording import OUTCOME_REASONS, outcome_text
from engagement.models import EngagementMessage, MessageStatus
from engagement.privacy import redact
from engagement.selectors.deliveries import DUE_AT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from engagement.admin.action_views import SupportAction
    from engagement.admin.change_list import QuickLink

ERROR_CODE: Final = "error_code__exact"


class ReasonFilter(CheckboxFilter):
    """Messages by the reason of their status."""

    title = _("reason")
    parameter_name = "outcome_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        return sorted(OUTCOME_REASONS.items(), key=lambda reason: str(reason[1]))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        # A program may have stored a number as a reason. Nobody may find it out by guessing.
        reasons = [reason for reason in self.value() or () if reason in OUTCOME_REASONS]
        return queryset.filter(outcome_reason__in=reasons) if reasons else queryset


@admin.register(EngagementMessage)
class EngagementMessageAdmin(MessageTextsAdmin, RowsOfUsersAdmin, SupportActionsAdmin):
    """The message queue."""

    list_display = ("created", "user_link", "type_link", "status_label", "latest", "reason", "failures")
    list_display_links = None
    list_filter = (
        ("status", ChoicesCheckboxFilter),
        ("message_type", ChoicesCheckboxFilter),
        ReasonFilter,
        ("scheduled_for", DayRangeFilter),
        ("sent_at", DayRangeFilter),
        ("created_at", DayRangeFilter),
    )
    extra_lookups = ("user__exact", ERROR_CODE)
    ordering = ("-created_at", "-id")
    export_order = ("created_at", "id")
    support_actions = (CANCEL, RETRY, ARRIVED, NOT_ARRIVED)
    fields = ("message_type",)
    change_form_template = "engagement/message.html"
    no_match = _("No messages match.")
    not_found_title = _("No such message")
    not_found_sentence = _("There is no message with this ID: it is mistyped, or the message was purged.")

    def get_ordering(self, request: HttpRequest) -> Sequence[Any]:
        # In the order of the sender's index.
        return (DUE_AT, "id") if _is_queue(request) else self.ordering

    def order_help(self, request: HttpRequest) -> str:
        return gettext("Next to be sent first.") if _is_queue(request) else super().order_help(request)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A program may have stored a number as a code. Nobody may find it out by guessing.
        if lookup == ERROR_CODE and redact(value) != value and not may_see_contacts(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def quick_links(self, request: HttpRequest) -> list[QuickLink]:
        queries: list[tuple[Any, dict[str, str]]] = [(gettext("All"), {})]
        queries += [
            (status.label, {"status__exact": status.value})
            for status in (
                MessageStatus.PENDING,
                MessageStatus.UNKNOWN,
                MessageStatus.FAILED,
                MessageStatus.SENT,
                MessageStatus.CANCELLED,
            )
        ]
        return quick_links_to(request, queries)

    def useful_actions(self, row: EngagementMessage) -> Collection[SupportAction]:
        useful = {
            MessageStatus.PENDING.value: (CANCEL,),
            MessageStatus.FAILED.value: (RETRY,),
            MessageStatus.UNKNOWN.value: (ARRIVED, NOT_ARRIVED),
        }
        return useful.get(row.status, ())

    def page_context(self, request: HttpRequest, row: EngagementMessage) -> dict[str, Any]:
        visibility, now = reader_of(row)
        page = message_page(row, now=now, visibility=visibility)
        useful = [action for action in self.useful_actions(row) if action is not RETRY or page.may_retry]
        return {
            "page": page,
            "user_link": self.user_link(row),
            "buttons": self.buttons(request, row, useful=useful),
        }

    def row_name(self, row: EngagementMessage) -> str:
        kind = row.get_message_type_display()
        return gettext("%(kind)s to %(name)s") % {"kind": kind, "name": self.user_name(row)}

    def row_state(self, row: EngagementMessage) -> str:
        return str(row.get_status_display())

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        unmasked = may_see_contacts(request)

        def title_of(name: str) -> str:
            return str(label_for_field(name, EngagementMessage))

        def text(name: str) -> ExportColumn:
            return ExportColumn(title_of(name), lambda row: shown_text(getattr(row, name), unmasked=unmasked))

        def value(name: str) -> ExportColumn:
            return ExportColumn(title_of(name), lambda row: getattr(row, name))

        times = ("scheduled_for", "claimed_at", "sent_at", "delivered_at", "read_at", "failed_at")
        return [
            value("created_at"),
            *self.user_columns(request),
            *map(value, ("message_type", "status")),
            *map(value, times),
            *map(text, ("outcome_reason", "error_code", "error_message", "message_key")),
            *map(value, ("retry_count", "id")),
        ]

    @display(description=_("queued"))
    def created(self, row: EngagementMessage) -> str:
        return moment(row.created_at, now=reader_of(row).now)

    @display(description=_("message"))
    def type_link(self, row: EngagementMessage) -> str:
        return format_html(
            '<a class="engagement-link" href="{}" title="{}">{}</a>',
            links.message_url(row.pk),
            row.pk,
            row.get_message_type_display(),
        )

    @display(description=_("status"))
    def status_label(self, row: EngagementMessage) -> str:
        return badge(row.get_status_display(), MESSAGE_COLORS.get(row.status, ""))

    @display(description=_("reason"))
    def reason(self, row: EngagementMessage) -> str | None:
        """Reason, error and code. The code is a link to the messages with the same."""
        unmasked = reader_of(row).unmasked
        known = row.outcome_reason and outcome_text(row.outcome_reason)
        texts = [shown_text(str(text), unmasked=unmasked) for text in (known, error_text(row)) if text]
        code = shown_text(row.error_code, unmasked=unmasked)
        if not (code or texts):
            return None
        if not code:
            return format_html('<span class="engagement-reason">{}</span>', ": ".join(texts))
        return format_html(
            '<span class="engagement-reason">{} <a class="engagement-link" href="?{}">{}</a></span>',
            ": ".join(texts),
            urlencode({ERROR_CODE: code}),
            gettext("code %(code)s") % {"code": code},
        )

    @display(description=_("failed attempts"))
    def failures(self, row: EngagementMessage) -> int | None:
        return row.retry_count or None

    @display(description=_("sent or due"))
    def latest(self, row: EngagementMessage) -> str | None:
        """When the message was sent; of a pending one, when it will be due."""
        now = reader_of(row).now
        if row.status == MessageStatus.PENDING:
            return moment(row.next_attempt_at or row.scheduled_for, now=now)
        at = row.sent_at or row.claimed_at
        return moment(at, now=now) if at else None


def _is_queue(request: HttpRequest) -> bool:
    """Whether the list shows pending messages only, which have an index in the order of sending."""
    return request.GET.getlist("status__exact") == [MessageStatus.PENDING.value]
