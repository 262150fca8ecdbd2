"""The dashboard."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.urls import reverse

from engagement.admin.filters import DueFilter, next_run_at, now_of
from engagement.admin.labels import RUN_COLORS, near, relative
from engagement.conf import engagement_settings
from engagement.delivery_wording import OUTCOME_REASONS, pause_sentence
from engagement.formatting import date_text
from engagement.local_times import shown_time
from engagement.models import MessageStatus
from engagement.privacy import redact
from engagement.selectors.dashboard import (
    DAYS_SHOWN,
    due_by_check,
    first_instant,
    message_backlog,
    transitions_by_day,
    users_by_state,
)
from engagement.selectors.deliveries import pauses
from engagement.selectors.goodbyes import GoodbyeFate
from engagement.selectors.job_runs import latest_runs, status_of_run
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from engagement.models import EngagementJobRun
    from engagement.selectors.dashboard import DailyTransitions

RUNS_SHOWN: Final = 7

DUE_LABELS: Final = {
    Trigger.INACTIVITY_14D: "goodbyes due",
    Trigger.GOODBYE_TIMEOUT: "goodbyes without reply",
    Trigger.REMINDER_DUE: "reminders due",
}
TRIGGER_COLORS: Final = {
    Trigger.INACTIVITY_14D: "#f59e0b",
    Trigger.USER_MESSAGE: "#22c55e",
    Trigger.GOODBYE_RESPONSE_1: "#3b82f6",
    Trigger.GOODBYE_RESPONSE_2: "#a855f7",
    Trigger.GOODBYE_RESPONSE_3: "#14b8a6",
    Trigger.GOODBYE_TIMEOUT: "#9ca3af",
    Trigger.REMINDER_DUE: "#64748b",
    Trigger.RUN_UNDONE: "#ef4444",
}
MANUAL: Final = "manual"
GOODBYE_OUTCOMES: Final[dict[str, str]] = {
    Trigger.GOODBYE_RESPONSE_1: "reply 1: confused",
    Trigger.GOODBYE_RESPONSE_2: "reply 2: busy",
    Trigger.GOODBYE_RESPONSE_3: "reply 3: all good",
    Trigger.USER_MESSAGE: "another message",
    MANUAL: "marked as active by support",
    Trigger.GOODBYE_TIMEOUT: "no reply",
    GoodbyeFate.NEVER_SENT: "never sent",
}

AXIS: Final = {"border": {"display": False}, "grid": {"color": "#9ca3af33"}}
CHART_OPTIONS: Final = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "scales": {
        "x": {**AXIS, "stacked": True, "grid": {"display": False}},
        "y": {**AXIS, "stacked": True, "beginAtZero": True},
    },
    "plugins": {
        "legend": {"position": "bottom", "labels": {"usePointStyle": True, "boxHeight": 7, "boxWidth": 7}},
        "tooltip": {"mode": "index"},
    },
}
"""For Chart.js: the theme's own options have no stacked bars. admin.js sets the colour of the text."""

REQUIRED_PERMISSIONS: Final = (
    "engagement.view_userengagementstate",
    "engagement.view_engagementstatetransition",
    "engagement.view_engagementmessage",
    "engagement.view_engagementjobrun",
)
"""Without all of them the dashboard has links and no numbers."""


class Tile(NamedTuple):
    """A number with a link to the rows that it counts."""

    label: str
    value: int
    note: str = ""
    url: str = ""


class Bar(NamedTuple):
    """A share of a whole."""

    label: str
    number: int
    percent: int


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
    transitions = transitions_by_day(now=now)
    return context | {
        "states": _states(),
        "due": _due(now),
        "next_run": near(next_run_at(request), now=now),
        "messages_waiting": _messages(now),
        "pauses": _pauses(request, now),
        "pauses_url": reverse("admin:engagement_sendingchannel_changelist"),
        "runs": _runs(transitions, now=now),
        "chart": json.dumps(_chart(transitions, now=now)),
        "chart_title": f"Transitions per day by trigger, last {DAYS_SHOWN} days",
        "chart_summary": _chart_summary(transitions),
        "chart_options": json.dumps(CHART_OPTIONS),
        "goodbyes": _goodbyes(transitions),
        "days_shown": DAYS_SHOWN,
        "now": now,
    }


def _states() -> list[Tile]:
    return [
        Tile(state.label, count, url=_list_url("userengagementstate", f"state__exact={state.value}"))
        for state, count in users_by_state().items()
    ]


def _due(now: datetime) -> list[Tile]:
    due = due_by_check(now=now, policy=engagement_settings().policy)
    return [
        Tile(
            DUE_LABELS[check.trigger],
            count.next_run,
            f"{count.now:,} now",
            _list_url("userengagementstate", f"{DueFilter.parameter_name}={check.name}"),
        )
        for check, count in due.items()
    ]


def _messages(now: datetime) -> list[Tile]:
    backlog = message_backlog(now=now)
    oldest_at = backlog.oldest_pending_at
    notes = [_backlog_note(oldest_at, now=now)] if oldest_at else []
    notes += _by_reason(backlog.held_back)
    failures = "; ".join(_by_reason(backlog.failed_by_reason))
    in_hand = f"{backlog.sending:,} being sent now" if backlog.sending else ""
    return [
        Tile("pending", backlog.pending, "; ".join(notes), _messages_url(MessageStatus.PENDING)),
        Tile("sent in 24 hours", backlog.sent_of_late, in_hand),
        Tile("outcome unknown", backlog.unknown, "", _messages_url(MessageStatus.UNKNOWN)),
        Tile("failed", backlog.failed, failures, _messages_url(MessageStatus.FAILED)),
    ]


def _by_reason(counts: Mapping[str, int]) -> list[str]:
    return [
        f"{number:,}: {OUTCOME_REASONS.get(reason, redact(reason))}"
        for reason, number in sorted(counts.items())
    ]


def _messages_url(status: MessageStatus) -> str:
    return _list_url("engagementmessage", f"status__exact={status.value}")


def _pauses(request: HttpRequest, now: datetime) -> list[str]:
    """A sentence for each pause."""
    if not request.user.has_perm("engagement.view_sendingchannel"):
        return []
    return [pause_sentence(channel, date=shown_time) for channel in pauses(now=now)]


def _backlog_note(oldest_at: datetime, *, now: datetime) -> str:
    if oldest_at > now:
        return f"first due {relative(oldest_at, now=now)}"
    return f"oldest overdue since {date_text(oldest_at)}"


def _runs(transitions: Sequence[DailyTransitions], *, now: datetime) -> list[RunRow]:
    undone: Counter[str | None] = Counter()
    for group in transitions:
        undone[group.undone_job_id] += group.number
    return [_run(run, undone=undone[str(run.job_id)], now=now) for run in latest_runs()[:RUNS_SHOWN]]


def _run(run: EngagementJobRun, *, undone: int, now: datetime) -> RunRow:
    status = status_of_run(run, now=now)
    return RunRow(
        url=reverse("admin:engagement_engagementjobrun_change", args=(run.pk,)),
        as_of=run.now,
        started=relative(run.started_at, now=now),
        status=status,
        color=RUN_COLORS[status],
        moved=run.succeeded,
        undone=undone,
        failed=run.failed,
        skipped=run.skipped,
    )


def _chart(transitions: Sequence[DailyTransitions], *, now: datetime) -> dict[str, object]:
    """Stacked bars in the format of Chart.js."""
    first_day = first_instant(now).date()
    days = [first_day + timedelta(days=number) for number in range(DAYS_SHOWN)]
    counts: Counter[tuple[object, str]] = Counter()
    for group in transitions:
        counts[group.day, group.trigger] += group.number
    return {
        "labels": [f"{day.day} {day:%b}" for day in days],
        "datasets": [
            {
                "label": str(trigger.label),
                "data": [counts[day, trigger.value] for day in days],
                "backgroundColor": TRIGGER_COLORS[trigger],
                "maxBarThickness": 24,
            }
            for trigger in Trigger
            if any(counts[day, trigger.value] for day in days)
        ],
    }


def _chart_summary(transitions: Sequence[DailyTransitions]) -> str:
    """The totals of the chart, for screen readers."""
    counts: Counter[str] = Counter()
    for group in transitions:
        counts[Trigger(group.trigger).label] += group.number
    return ", ".join(f"{label} {counts[label]:,}" for label in Trigger.labels if counts[label]) or "no data"


def _goodbyes(transitions: Sequence[DailyTransitions]) -> list[Bar]:
    """How the goodbyes that ended in these days ended."""
    counts: Counter[str] = Counter()
    for group in transitions:
        if group.from_state == State.GOODBYE_SENT:
            counts[MANUAL if group.is_manual else _outcome_of(group, group.trigger)] += group.number
        elif group.trigger == Trigger.RUN_UNDONE and group.to_state == State.GOODBYE_SENT:
            # A run ends goodbyes by timeout only. The timeout may be older than the days shown.
            counts[_outcome_of(group, Trigger.GOODBYE_TIMEOUT)] -= group.number
    shown = {label: max(counts[outcome], 0) for outcome, label in GOODBYE_OUTCOMES.items()}
    total = sum(shown.values())
    return [
        Bar(label, number, round(100 * number / total) if total else 0) for label, number in shown.items()
    ]


def _outcome_of(group: DailyTransitions, trigger: str) -> str:
    """How goodbyes ended: by this trigger, unless the users were never sent them."""
    return GoodbyeFate.NEVER_SENT if group.goodbye == GoodbyeFate.NEVER_SENT else trigger


def _list_url(model: str, query: str) -> str:
    return f"{reverse(f'admin:engagement_{model}_changelist')}?{query}"
