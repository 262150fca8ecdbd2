"""Filters that the theme does not have, and a summary of the filters of a list."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.admin.utils import label_for_field
from django.core.exceptions import ValidationError
from django.forms import DateField
from django.utils import timezone
from django.utils.formats import localize_input
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import (
    CheckboxFilter,
    DropdownFilter,
    RadioFilter,
    RangeDateFilter,
    TextFilter,
)

from engagement.admin import links
from engagement.admin.labels import RUN_STATUS_TEXTS
from engagement.conf import engagement_settings
from engagement.formatting import fill
from engagement.local_times import shown_range
from engagement.models import MessageStatus
from engagement.schedule import first_run_from
from engagement.selectors.audit_log import by_person, of_run
from engagement.selectors.job_runs import runs_with_status
from engagement.selectors.people import due_profiles, staff_names, users_who_came_back, users_with_messages
from engagement.states import CHECKS, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import date

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest, QueryDict
    from unfold.admin import ModelAdmin


def now_of(request: HttpRequest) -> datetime:
    """The time of the request. The clock is read once per request."""
    known = vars(request)
    if "engagement_now" not in known:
        known["engagement_now"] = timezone.now()
    return known["engagement_now"]


def next_run_at(request: HttpRequest) -> datetime:
    """When the next scheduled run starts."""
    return first_run_from(now_of(request), run_time=engagement_settings().run_time)


class DayRangeFilter(RangeDateFilter):
    """From the start of one day to the end of another, in the active time zone.

    A day is in ISO format or as the active language writes it. `not_understood` has what is neither.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if first := self._start("from"):
            queryset = queryset.filter(**{f"{self.field_path}__gte": first})
        if end := self._start("to", days_later=1):
            queryset = queryset.filter(**{f"{self.field_path}__lt": end})
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """The form. It has the days as its calendar writes them."""
        for choice in super().choices(changelist):
            choice["form"].data = {f"{self.field_path}_{end}": self._in_form(end) for end in ("from", "to")}
            yield choice

    def summary(self) -> str:
        """The chosen days."""
        return shown_range(self._start("from"), self._start("to"))

    @property
    def not_understood(self) -> list[str]:
        """The texts that are no days."""
        return [text for end in ("from", "to") if (text := self._text(end)) and self._start(end) is None]

    def _text(self, end: str) -> str:
        return str(self.used_parameters.get(f"{self.field_path}_{end}") or "").strip()

    def _day(self, end: str) -> date | None:
        return _day_of(self._text(end))

    def _in_form(self, end: str) -> str:
        day = self._day(end)
        return str(localize_input(day)) if day else self._text(end)

    def _start(self, end: str, *, days_later: int = 0) -> datetime | None:
        if (day := self._day(end)) is None:
            return None
        try:
            return timezone.make_aware(datetime.combine(day + timedelta(days=days_later), time()))
        except (ValueError, OverflowError):  # the day after the last one
            return None


def _day_of(text: str) -> date | None:
    try:
        return DateField().to_python(text.strip())
    except ValidationError:
        return None


class RunStatusFilter(CheckboxFilter):
    """Runs by status. `vanished` is a status of its own here."""

    title = _("status")
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [*RUN_STATUS_TEXTS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        statuses = self.value()
        return queryset.filter(runs_with_status(statuses, now=now_of(request))) if statuses else queryset


class CheckFilter(CheckboxFilter):
    """Runs that ran these checks."""

    title = _("check")
    parameter_name = "check"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [(check.name, check.trigger.label) for check in CHECKS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        names = [check.name for check in CHECKS if check.name in (self.value() or ())]
        return queryset.filter(checks__has_any_keys=names) if names else queryset


class RunFilter(TextFilter):
    """The transitions of one run, by its id."""

    title = _("run")
    parameter_name = "run"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if not self.value():
            return queryset
        job_id = self._job_id()
        return queryset.filter(of_run(job_id)) if job_id else queryset.none()

    def summary(self) -> str:
        """The id, with a link to the page of the run."""
        if not (job_id := self._job_id()):
            return self.value() or ""
        return format_html('<a class="engagement-link" href="{}">{}</a>', links.run_url(job_id), job_id)

    def _job_id(self) -> UUID | None:
        try:
            return UUID((self.value() or "").strip())
        except ValueError:
            return None


class PersonFilter(DropdownFilter):
    """The transitions that one staff account made.

    Only names of accounts are accepted: metadata of other programs may name an address.
    """

    title = _("staff account")
    parameter_name = "performed_by"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in staff_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if not (name := self.value()):
            return queryset
        return queryset.filter(by_person(name)) if (name, name) in self.lookup_choices else queryset.none()

    def summary(self) -> str:
        """The name as it is written."""
        return self.value() or ""


class DueFilter(RadioFilter):
    """Users whom the next scheduled run would move: by one check, or by any of them."""

    title = _("due at the next run")
    parameter_name = "due"
    ANY = "any"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [(self.ANY, _("by any check")), *((check.name, check.trigger.label) for check in CHECKS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        checks = [check for check in CHECKS if self.value() in {self.ANY, check.name}]
        if not checks:
            return queryset
        policy = engagement_settings().policy
        return queryset.filter(due_profiles(checks, now=next_run_at(request), policy=policy))


class UsersMessageFilter(RadioFilter):
    """Users who have a message that needs attention."""

    title = _("has a message that")
    parameter_name = "message"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [
            (MessageStatus.FAILED, _("failed")),
            (MessageStatus.UNKNOWN, _("may or may not have arrived")),
            (MessageStatus.PENDING, _("waits to be sent")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        statuses = [status for status, _label in self.lookup_choices if status == self.value()]
        return queryset.filter(pk__in=users_with_messages(statuses)) if statuses else queryset


class CameBackFilter(RadioFilter):
    """Active users whom a message of theirs made active again in the last days."""

    title = _("came back")
    parameter_name = "came_back"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, Any]]:  # noqa: ARG002
        return [("7", _("in the last 7 days")), ("30", _("in the last 30 days"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        days = [int(days) for days, _label in self.lookup_choices if days == self.value()]
        if not days:
            return queryset
        back = users_who_came_back(since=now_of(request) - timedelta(days=days[0]))
        return queryset.filter(engagement_state__state=State.ACTIVE, pk__in=back)


def filter_summary(changelist: ChangeList, *, extra_lookups: Collection[str]) -> str:
    """`Filtered by state: dormant or getting help.`, as HTML; empty for a list without filters."""
    filters = [(spec.title, _chosen_labels(spec, changelist)) for spec in changelist.filter_specs]
    filters += [
        (_title_of(name, changelist), changelist.params[name])
        for name in extra_lookups
        if changelist.params.get(name)
    ]
    summary = format_html_join("; ", "{}: {}", (pair for pair in filters if pair[1]))
    return fill(gettext("Filtered by %(filters)s."), filters=summary) if summary else ""


def with_iso_days(query: QueryDict, list_filter: Iterable[Any]) -> QueryDict:
    """The query of a list with its days in ISO format, which means the same day in every language."""
    iso = query.copy()
    for field, kind in (item for item in list_filter if isinstance(item, tuple)):
        for name in (f"{field}_from", f"{field}_to") if issubclass(kind, DayRangeFilter) else ():
            days = [(text, _day_of(text)) for text in query.getlist(name)]
            if days:
                iso.setlist(name, [day.isoformat() if day else text for text, day in days])
    return iso


def unread_days(changelist: ChangeList) -> list[str]:
    """A sentence for each text in a filter of days that is no day. Such a filter leaves out no row."""
    filters = [spec for spec in changelist.filter_specs if isinstance(spec, DayRangeFilter)]
    sentence = gettext("This date was not understood: %(text)s.")
    return [sentence % {"text": text} for spec in filters for text in spec.not_understood]


def _title_of(lookup: str, changelist: ChangeList) -> str:
    return str(label_for_field(lookup.removesuffix("__exact"), changelist.model, changelist.model_admin))


def _chosen_labels(spec: Any, changelist: ChangeList) -> str:
    if isinstance(spec, (DayRangeFilter, PersonFilter, RunFilter)):
        return spec.summary()
    labels = []
    for choices in spec.choices(changelist):
        form = choices["form"]
        for name, field in form.fields.items():
            value = form.data.get(name) or []
            chosen = [value] if isinstance(value, str) else value
            labels += [str(label).lower() for key, label in field.choices if key and key in chosen]
    return gettext(" or ").join(labels)
