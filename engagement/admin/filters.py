"""What the theme's filters lack: whole days, and what stands in a JSON column."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.utils.dateparse import parse_date
from unfold.contrib.filters.admin import CheckboxFilter, RadioFilter, RangeDateFilter

from engagement.admin.base import moment_of
from engagement.conf import engagement_settings
from engagement.models import RunStatus
from engagement.schedule import first_run_from
from engagement.selectors import due_users
from engagement.selectors.job_runs import VANISHED, runs_with_status
from engagement.states import CHECKS

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest
    from unfold.admin import ModelAdmin


class DayRangeFilter(RangeDateFilter):
    """From the first instant of one day to the last of another, by UTC. What is no date is passed over."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if first := self._day("from"):
            queryset = queryset.filter(**{f"{self.field_path}__gte": first})
        if end := self._day("to", days_later=1):
            queryset = queryset.filter(**{f"{self.field_path}__lt": end})
        return queryset

    def in_words(self) -> str:
        """The days that were chosen, if any."""
        days = ((word, self._day(word)) for word in ("from", "to"))
        return " ".join(f"{word} {day.day} {day:%B} {day.year}" for word, day in days if day)

    def _day(self, end: str, *, days_later: int = 0) -> datetime | None:
        text = str(self.used_parameters.get(f"{self.field_path}_{end}") or "")
        try:
            day = parse_date(text)
            return datetime.combine(day + timedelta(days=days_later), time(), UTC) if day else None
        except (ValueError, OverflowError):  # the 31st of June, and what comes after the last day
            return None


class OutcomeFilter(CheckboxFilter):
    """Runs by how they stand, those that vanished apart from those that work."""

    title = "status"
    parameter_name = "status__exact"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        return [*RunStatus.choices, (VANISHED, VANISHED)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        outcomes = self.value()
        return queryset.filter(runs_with_status(outcomes, now=moment_of(request))) if outcomes else queryset


class CheckFilter(CheckboxFilter):
    """Runs that asked these checks."""

    title = "check"
    parameter_name = "check"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(check.name, check.trigger.label) for check in CHECKS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:  # noqa: ARG002
        names = [check.name for check in CHECKS if check.name in (self.value() or ())]
        return queryset.filter(checks__has_any_keys=names) if names else queryset


class DueFilter(RadioFilter):
    """Users whom the next scheduled run would move, asked as the job asks."""

    title = "due at the next run"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(check.name, check.trigger.label) for check in CHECKS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        check = next((check for check in CHECKS if check.name == self.value()), None)
        if check is None:
            return queryset
        settings = engagement_settings()
        next_run = first_run_from(moment_of(request), run_time=settings.run_time)
        return queryset & due_users.due(check, now=next_run, policy=settings.policy)
