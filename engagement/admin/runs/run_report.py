"""What the page of a run says: counts per check, skipped users, errors, options, undoings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from engagement.admin import links
from engagement.admin.labels import RUN_COLORS, run_status_text
from engagement.admin.masking import shown_person, shown_text
from engagement.admin.people.names import person_name
from engagement.formatting import count_text, duration_text, fill, number_text
from engagement.local_times import shown_time
from engagement.selectors.audit_log import undoings_of_run
from engagement.selectors.job_runs import duration_of, status_of_run
from engagement.selectors.people import addresses_of
from engagement.selectors.user_search import account_names_among
from engagement.states import CHECKS, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from engagement.admin.masking import Visibility
    from engagement.models import EngagementJobRun

SKIPPED_TEXTS: Final = {
    SkipReason.OPTED_OUT.value: gettext_lazy("opted out"),
    SkipReason.NO_DESTINATION.value: gettext_lazy("without a WhatsApp address"),
}
CHECK_LABELS: Final = {check.name: check.trigger.label for check in CHECKS}


class CheckRow(NamedTuple):
    """The counts of one check, or of all."""

    label: str
    moved: int
    failed: int
    skipped: int


class FailedUser(NamedTuple):
    """A user whom the run could not move."""

    label: str
    url: str
    check: str
    error: str


class Report(NamedTuple):
    """The context of the template."""

    status: str
    color: str
    failure: str
    times: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]
    checks: Sequence[CheckRow]
    total: CheckRow
    skipped: Sequence[tuple[int, str]]
    """The skipped users by reason."""
    still_due: str
    errors: Sequence[FailedUser]
    unlisted_errors: int
    """Failed users whom the ledger does not name."""
    undoings: Sequence[str]


def run_report(run: EngagementJobRun, *, now: datetime, visibility: Visibility) -> Report:
    """Everything about a run, in a constant number of queries."""
    status, unmasked = status_of_run(run, now=now), visibility.contacts
    errors = list(_failed_users(run.errors, visibility=visibility))
    return Report(
        status=run_status_text(status),
        color=RUN_COLORS[status],
        failure=shown_text(run.failure, unmasked=unmasked),
        times=list(_times(run, now=now)),
        settings=list(_settings(run)),
        checks=list(_check_rows(run.checks)),
        total=CheckRow(_("All checks"), run.succeeded, run.failed, run.skipped),
        skipped=list(_skipped(run.skipped_by_reason)),
        still_due=_still_due(run.still_due),
        errors=errors,
        unlisted_errors=max(run.failed - len(errors), 0),
        undoings=list(_undoings(run, unmasked=unmasked)),
    )


def _times(run: EngagementJobRun, *, now: datetime) -> Iterator[tuple[str, str]]:
    yield _("As of"), shown_time(run.now)
    yield _("Started"), shown_time(run.started_at)
    if run.finished_at:
        yield _("Finished"), shown_time(run.finished_at)
    else:
        yield _("Last sign of life"), shown_time(run.last_seen_at)
    yield _("Duration"), duration_text(duration_of(run, now=now))


def _settings(run: EngagementJobRun) -> Iterator[tuple[str, str]]:
    """The options in words. A run of an older version may lack some."""
    options: Mapping[str, Any] = run.options
    if checks := options.get("checks"):
        names = [str(CHECK_LABELS[name]) for name in checks]
        yield _("Checks"), _("all") if len(names) == len(CHECKS) else ", ".join(names)
    if "limit" in options:
        yield _("Limit"), _users(options["limit"]) or _("none")
    if batch := _users(options.get("batch_size")):
        yield _("Batch size"), batch
    if workers := options.get("workers"):
        yield _("Workers"), number_text(workers)
    if options.get("allow_large_run"):
        yield _("Safety limit"), _("switched off for this run")
    if seconds := options.get("ahead_of_clock_seconds"):
        yield _("Time of the run"), _clock_text(seconds)
    process = _("process")
    yield _("Machine"), run.host + (f", {process} {run.pid}" if run.pid else "")
    yield _("Version"), run.version or _("unknown")
    yield _("Run ID"), str(run.pk)


def _users(number: int | None) -> str:
    return count_text(number, "user") if number else ""


def _clock_text(seconds: int) -> str:
    gap = duration_text(timedelta(seconds=abs(seconds)))
    return (_("%(gap)s ahead of the clock") if seconds > 0 else _("%(gap)s behind the clock")) % {"gap": gap}


def _check_rows(checks: Mapping[str, Mapping[str, int]]) -> Iterator[CheckRow]:
    """The checks of the run, in the order in which it makes them."""
    for name, label in CHECK_LABELS.items():
        if counts := checks.get(name):
            yield CheckRow(str(label), *(counts.get(key, 0) for key in ("succeeded", "failed", "skipped")))


def _skipped(reasons: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    for reason, text in SKIPPED_TEXTS.items():
        if number := reasons.get(reason):
            yield number, str(text)


def _still_due(number: int | None) -> str:
    if not number:
        return ""
    return ngettext(
        "%(count)s due user was left for the next run.",
        "%(count)s due users were left for the next run.",
        number,
    ) % {"count": number_text(number)}


def _failed_users(errors: Sequence[Mapping[str, str]], *, visibility: Visibility) -> Iterator[FailedUser]:
    unmasked = visibility.contacts
    user_ids = [UUID(row["user_id"]) for row in errors]
    addresses = addresses_of(user_ids)
    for row, user_id in zip(errors, user_ids, strict=True):
        yield FailedUser(
            label=person_name(user_id, addresses.get(user_id), unmasked=unmasked),
            url=links.user_url(user_id) if visibility.users else "",
            check=str(CHECK_LABELS[row["check_type"]]),
            error=shown_text(row["error"], unmasked=unmasked),
        )


def _undoings(run: EngagementJobRun, *, unmasked: bool) -> Iterator[str]:
    undoings = undoings_of_run(run.pk)
    accounts = account_names_among(person for person, *_rest in undoings)
    for person, number, last_at in undoings:
        yield _undoing_text(shown_person(person, unmasked=unmasked, accounts=accounts), number, last_at)


def _undoing_text(person: str, number: int, last_at: datetime) -> str:
    if person:
        template = ngettext(
            "%(count)s user was put back by %(person)s on %(date)s.",
            "%(count)s users were put back by %(person)s on %(date)s.",
            number,
        )
    else:
        template = ngettext(
            "%(count)s user was put back by the command on %(date)s.",
            "%(count)s users were put back by the command on %(date)s.",
            number,
        )
    return fill(template, count=number_text(number), person=person, date=shown_time(last_at))
