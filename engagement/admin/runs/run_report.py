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
    moved: object
    failed: object
    skipped: object


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
        checks=list(_check_rows(run.checks, unmasked=unmasked)),
        total=CheckRow(_("All checks"), run.succeeded, run.failed, run.skipped),
        skipped=list(_skipped(run.skipped_by_reason, unmasked=unmasked)),
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
    """The options in words. Rows of other programs may hold any JSON value."""
    options: Mapping[str, Any] = run.options if isinstance(run.options, dict) else {}
    if isinstance(checks := options.get("checks"), list):
        names = [str(CHECK_LABELS[name]) for name in checks if name in CHECK_LABELS]
        yield _("Checks"), _("all") if len(names) == len(CHECKS) else ", ".join(names)
    if "limit" in options:
        yield _("Limit"), _users(options["limit"]) or _("none")
    if batch := _users(options.get("batch_size")):
        yield _("Batch size"), batch
    if isinstance(workers := options.get("workers"), int):
        yield _("Workers"), number_text(workers)
    if options.get("allow_large_run") is True:
        yield _("Safety limit"), _("switched off for this run")
    if isinstance(seconds := options.get("ahead_of_clock_seconds"), int):
        yield _("Time of the run"), _clock_text(seconds)
    process = _("process")
    yield _("Machine"), run.host + (f", {process} {run.pid}" if run.pid else "")
    yield _("Version"), run.version or _("unknown")
    yield _("Run ID"), str(run.pk)


def _users(number: object) -> str:
    if not isinstance(number, int):
        return ""
    return count_text(number, "user")


def _clock_text(seconds: int) -> str:
    gap = duration_text(timedelta(seconds=abs(seconds)))
    return (_("%(gap)s ahead of the clock") if seconds > 0 else _("%(gap)s behind the clock")) % {"gap": gap}


def _check_rows(checks: object, *, unmasked: bool) -> Iterator[CheckRow]:
    """The checks in the order in which a run makes them, then those of other programs."""
    if not isinstance(checks, dict):
        return
    for name in sorted(checks, key=[*CHECK_LABELS, *checks].index):
        counts = checks[name] if isinstance(checks[name], dict) else {}
        label = CHECK_LABELS.get(name) or shown_text(name, unmasked=unmasked)
        yield CheckRow(str(label), *(_number(counts.get(key)) for key in ("succeeded", "failed", "skipped")))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _skipped(reasons: object, *, unmasked: bool) -> Iterator[tuple[int, str]]:
    for reason, count in reasons.items() if isinstance(reasons, dict) else ():
        if number := _number(count):
            yield number, str(SKIPPED_TEXTS.get(reason) or shown_text(reason, unmasked=unmasked))


def _still_due(number: int | None) -> str:
    if not number:
        return ""
    return ngettext(
        "%(count)s due user was left for the next run.",
        "%(count)s due users were left for the next run.",
        number,
    ) % {"count": number_text(number)}


def _failed_users(errors: object, *, visibility: Visibility) -> Iterator[FailedUser]:
    unmasked = visibility.contacts
    rows = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    user_ids = [_uuid(row.get("user_id")) for row in rows]
    addresses = addresses_of([user_id for user_id in user_ids if user_id])
    for row, user_id in zip(rows, user_ids, strict=True):
        if user_id:
            label = person_name(user_id, addresses.get(user_id), unmasked=unmasked)
        else:
            label = shown_text(str(row.get("user_id") or ""), unmasked=unmasked) or _("unknown")
        check = row.get("check_type", "")
        yield FailedUser(
            label=label,
            url=links.user_url(user_id) if user_id and visibility.users else "",
            check=str(CHECK_LABELS.get(check) or shown_text(str(check), unmasked=unmasked)),
            error=shown_text(str(row.get("error", "")), unmasked=unmasked),
        )


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


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
