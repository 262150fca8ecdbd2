"""The context of the dashboard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.admin import links
from engagement.admin.dashboard.charts import goodbye_bars, transitions_chart, weekly_chart
from engagement.admin.dashboard.status import NOTABLE, status
from engagement.admin.filters import next_run_at, now_of
from engagement.admin.labels import RUN_COLORS, relative, run_status_text
from engagement.conf import engagement_settings
from engagement.delivery_wording import outcome_text
from engagement.formatting import fill, number_text
from engagement.local_times import shown_time
from engagement.models import MessageStatus, UserProfile
from engagement.selectors.dashboard import (
    DAYS_SHOWN,
    due_by_check,
    message_backlog,
    transitions_by_day,
    users_by_state,
)
from engagement.selectors.job_runs import latest_runs, status_of_run
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from engagement.models import EngagementJobRun
    from engagement.selectors.dashboard import Backlog, DailyTransitions

RUNS_SHOWN: Final = 7

DUE_LABELS: Final = {
    Trigger.INACTIVITY_14D: gettext_lazy("goodbyes due"),
    Trigger.GOODBYE_TIMEOUT: gettext_lazy("goodbyes without reply"),
    Trigger.REMINDER_DUE: gettext_lazy("reminders due"),
}

REQUIRED_PERMISSIONS: Final = (
    "engagement.view_userengagementstate",
    "engagement.view_engagementstatetransition",
    "engagement.view_engagementmessage",
    "engagement.view_engagementjobrun",
)
"""Without all of them the dashboard has links and no numbers."""
VIEW_USERS: Final = "engagement.view_userprofile"


class Tile(NamedTuple):
    """A number with a link to the rows that it counts."""

    label: str
    value: int
    note: str = ""
    url: str = ""
    identifier: str = ""
    """The word that commands, settings and the API use for it."""
    level: str = ""
    """`warning` for a number that needs attention."""


class RunRow(NamedTuple):
    """A run in the table."""

    url: str
    as_of: datetime
    started: str
    status: str
    color: str
    moved: int
    undone: int
    """How many of these transitions were undone."""
    failed: int
    skipped: int


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the numbers to the context of the index page. The theme calls this."""
    if not request.user.has_perms(REQUIRED_PERMISSIONS):
        return context
    now = now_of(request)
    user_admin: Any = admin.site.get_model_admin(UserProfile)
    transitions = transitions_by_day(now=now)
    runs = list(latest_runs()[:RUNS_SHOWN])
    backlog = message_backlog(now=now)
    sees_users = request.user.has_perm(VIEW_USERS)
    return context | {
        "status": status(
            runs=runs,
            backlog=backlog,
            sees_pauses=request.user.has_perm("engagement.view_sendingchannel"),
            next_run_at=next_run_at(request),
            now=now,
        ),
        "users_url": links.list_url("users") if sees_users else "",
        "search_help": user_admin.search_help(request),
        "states": _states(sees_users=sees_users),
        "due": _due(now, sees_users=sees_users),
        "messages_waiting": _messages(backlog, now=now),
        "runs": _runs(runs, transitions, now=now),
        "runs_url": links.list_url("runs"),
        "chart": transitions_chart(transitions, now=now),
        "weeks": weekly_chart(transitions, now=now),
        "goodbyes": goodbye_bars(transitions, now=now),
        "days_shown": DAYS_SHOWN,
        "now": now,
    }


def _states(*, sees_users: bool) -> list[Tile]:
    return [
        Tile(
            str(state.label),
            count,
            url=links.users_in_state(state) if sees_users else "",
            identifier=_unlike(state),
        )
        for state, count in users_by_state().items()
    ]


def _unlike(state: State) -> str:
    """The state's identifier, where its label says another word."""
    return "" if str(state.label) == state.value else state.value


def _due(now: datetime, *, sees_users: bool) -> list[Tile]:
    due = due_by_check(now=now, policy=engagement_settings().policy)
    return [
        Tile(
            str(DUE_LABELS[check.trigger]),
            count.next_run,
            _("%(number)s now") % {"number": number_text(count.now)},
            links.users_due(check) if sees_users else "",
            check.name,
        )
        for check, count in due.items()
    ]


def _messages(backlog: Backlog, *, now: datetime) -> list[Tile]:
    oldest_at = backlog.oldest_pending_at
    notes = [_backlog_note(oldest_at, now=now)] if oldest_at else []
    notes += _by_reason(backlog.held_back)
    waiting = format_html_join("; ", "{}", ((note,) for note in notes))
    failures = "; ".join(_by_reason(backlog.failed_by_reason))
    return [
        _tile(_("pending"), backlog.pending, MessageStatus.PENDING, note=waiting),
        Tile(_("sent in 24 hours"), backlog.sent_of_late, _sending_note(backlog)),
        _tile(_("outcome unknown"), backlog.unknown, MessageStatus.UNKNOWN, is_notable=backlog.unknown > 0),
        _tile(
            _("failed"),
            backlog.failed,
            MessageStatus.FAILED,
            note=failures,
            is_notable=backlog.failed_of_late > 0,
        ),
    ]


def _tile(
    label: str, value: int, counted: MessageStatus, *, note: str = "", is_notable: bool = False
) -> Tile:
    return Tile(label, value, note, links.messages_with(counted), level=NOTABLE if is_notable else "")


def _sending_note(backlog: Backlog) -> str:
    notes = {
        _("%(number)s being sent now"): backlog.sending,
        _("%(number)s reported as not delivered"): backlog.not_delivered,
    }
    return "; ".join(text % {"number": number_text(number)} for text, number in notes.items() if number)


def _by_reason(counts: Mapping[str, int]) -> list[str]:
    return [f"{number_text(number)}: {outcome_text(reason)}" for reason, number in sorted(counts.items())]


def _backlog_note(oldest_at: datetime, *, now: datetime) -> str:
    if oldest_at > now:
        return _("first due %(when)s") % {"when": relative(oldest_at, now=now)}
    return fill(_("oldest since %(date)s"), date=shown_time(oldest_at))


def _runs(
    runs: Sequence[EngagementJobRun], transitions: Sequence[DailyTransitions], *, now: datetime
) -> list[RunRow]:
    undone: Counter[str | None] = Counter()
    for group in transitions:
        undone[group.undone_job_id] += group.number
    return [_run(run, undone=undone[str(run.job_id)], now=now) for run in runs]


def _run(run: EngagementJobRun, *, undone: int, now: datetime) -> RunRow:
    outcome = status_of_run(run, now=now)
    return RunRow(
        url=links.run_url(run.job_id),
        as_of=run.now,
        started=relative(run.started_at, now=now),
        status=run_status_text(outcome),
        color=RUN_COLORS[outcome],
        moved=run.succeeded,
        undone=undone,
        failed=run.failed,
        skipped=run.skipped,
    )
