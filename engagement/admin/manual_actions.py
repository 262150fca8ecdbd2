"""The list of manual actions: who of the team did what, when and to whom."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import CheckboxFilter
from unfold.decorators import display

from engagement.admin import links
from engagement.admin.admin_log import shown_sentence
from engagement.admin.change_list import quick_links_to
from engagement.admin.export import ExportColumn
from engagement.admin.filters import DayRangeFilter, now_of
from engagement.admin.labels import moment
from engagement.admin.masking import may_see_contacts, shown_address, shown_text
from engagement.admin.people.names import person_link, short_id
from engagement.admin.read_only_admin import ReadOnlyAdmin, reader_of
from engagement.models import (
    ApiToken,
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    SendingChannel,
    UserProfile,
)
from engagement.selectors.people import addresses_of, kind_with_id, kinds_of, staff_names

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from engagement.admin.change_list import QuickLink
    from engagement.admin.masking import Visibility

MODELS: Final = (
    UserProfile,
    EngagementStateTransition,
    EngagementMessage,
    EngagementJobRun,
    SendingChannel,
    ApiToken,
)
"""What the team acts on, and exports."""


def shown_action(entry: LogEntry, *, visibility: Visibility) -> str:
    """The sentence of an action. The message that it names is shown by a short id, perhaps with a link."""
    sentence = shown_text(entry.change_message, unmasked=visibility.contacts)
    return shown_sentence(sentence, show_message=partial(_message_name, is_linked=visibility.messages))


def _message_name(message_id: str, *, is_linked: bool) -> str:
    name = short_id(message_id)
    if not is_linked:
        return format_html('<span title="{}">{}</span>', message_id, name)
    url = links.message_url(message_id)
    return format_html('<a class="engagement-link" href="{}" title="{}">{}</a>', url, message_id, name)


class AccountFilter(CheckboxFilter):
    """Actions of these staff accounts."""

    title = _("staff account")
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in staff_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        names = self.value()
        column = f"user__{get_user_model().USERNAME_FIELD}__in"
        return queryset.filter(**{column: names}) if names else queryset


@admin.register(LogEntry)
class ManualActionsAdmin(ReadOnlyAdmin):
    """The admin's log, without its entries about accounts."""

    list_display = ("at", "account", "action", "target")
    list_display_links = None
    list_select_related = ("user",)
    list_filter = (AccountFilter, ("action_time", DayRangeFilter))
    search_fields = ("object_id__exact",)
    user_column = "object_id"
    extra_lookups = ("object_id__exact",)
    # The ids are in the order of time.
    ordering = ("-id",)
    export_order = ("id",)
    counted_as = "manual action"
    no_match = _("No manual actions match.")

    def has_view_permission(self, request: HttpRequest, obj: LogEntry | None = None) -> bool:
        return obj is None and bool(request.user.has_perm("engagement.view_userprofile"))

    def has_module_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        visible = [
            kind.pk
            for model, kind in kinds_of(MODELS).items()
            if self.admin_site.get_model_admin(model).has_view_permission(request)
        ]
        return super().get_queryset(request).filter(content_type_id__in=visible)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        title = {"title": _("Manual actions")}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    def quick_links(self, request: HttpRequest) -> list[QuickLink]:
        today = timezone.localdate(now_of(request))
        days = ((gettext("Today"), today), (gettext("Past 7 days"), today - timedelta(days=6)))
        since = [(label, {"action_time_from": day.isoformat()}) for label, day in days]
        return quick_links_to(request, [(gettext("All"), {}), *since])

    def prepare(self, request: HttpRequest, rows: list[Any]) -> None:
        super().prepare(request, rows)
        users = {row.pk: user_id for row in rows if (user_id := _user_id(row))}
        addresses = addresses_of(set(users.values())) if users else {}
        for row in rows:
            row.target_user = users.get(row.pk)
            row.target_address = addresses.get(row.target_user) if row.target_user else None

    def export_columns(self, request: HttpRequest) -> list[ExportColumn]:
        unmasked = may_see_contacts(request)

        def text(shown: str | None) -> str:
            return shown_text(shown, unmasked=unmasked)

        return [
            ExportColumn(str(_("when")), lambda entry: entry.action_time),
            ExportColumn(str(_("who")), lambda entry: entry.user.get_username()),
            ExportColumn(str(_("action")), lambda entry: shown_sentence(text(entry.change_message))),
            ExportColumn(str(_("kind")), lambda entry: kind_with_id(entry.content_type_id).model),
            ExportColumn(str(_("ID")), lambda entry: text(entry.object_id)),
            ExportColumn("WhatsApp", lambda entry: shown_address(entry.target_address, unmasked=unmasked)),
        ]

    @display(description=_("when"))
    def at(self, entry: LogEntry) -> str:
        return moment(entry.action_time, now=reader_of(entry).now)

    @display(description=_("who"))
    def account(self, entry: LogEntry) -> str:
        return str(entry.user.get_username())

    @display(description=_("action"))
    def action(self, entry: LogEntry) -> str:
        return shown_action(entry, visibility=reader_of(entry).visibility)

    @display(description=_("on"))
    def target(self, entry: LogEntry) -> str:
        return _target(entry, visibility=reader_of(entry).visibility)


def _user_id(entry: LogEntry) -> UUID | None:
    kind = kinds_of([UserProfile])[UserProfile]
    try:
        return UUID(entry.object_id) if entry.content_type_id == kind.pk and entry.object_id else None
    except ValueError:
        return None


def _target(entry: Any, *, visibility: Visibility) -> str:
    """The user by name, any other row by its kind, each with a link; of an export, the kind of the rows."""
    if entry.target_user:
        return person_link(entry.target_user, entry.target_address, visibility=visibility)
    kind = kind_with_id(entry.content_type_id)
    if not entry.object_id:
        model = apps.get_model(kind.app_label, kind.model)
        return str(model._meta.verbose_name_plural)  # noqa: SLF001  documented by Django
    try:
        row_id = UUID(entry.object_id)
    except ValueError:
        return shown_text(entry.object_repr, unmasked=visibility.contacts)
    url = reverse(f"admin:engagement_{kind.model}_change", args=(row_id,))
    name = f"{kind.name} {short_id(row_id)}"
    return format_html('<a class="engagement-link" href="{}" title="{}">{}</a>', url, row_id, name)
