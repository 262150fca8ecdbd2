"""The front page."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.urls import reverse

from engagement.admin import colors
from engagement.admin.base import moment_of
from engagement.admin.filters import DueFilter
from engagement.admin.words import near, relative
from engagement.conf import engagement_settings
from engagement.schedule import first_run_from
from engagement.selectors import dashboard as dashboard_selectors
from engagement.selectors import job_runs as run_selectors
from engagement.selectors.dashboard import DAYS_SHOWN
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from engagement.models import EngagementJobRun
    from engagement.selectors.dashboard import MovesOfDay

RUNS_SHOWN: Final = 7

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
BY_HAND: Final = "by hand"
ENDS_OF_A_GOODBYE: Final[dict[str, str]] = {
    Trigger.GOODBYE_RESPONSE_1: "replied 1: confused",
    Trigger.GOODBYE_RESPONSE_2: "replied 2: busy",
    Trigger.GOODBYE_RESPONSE_3: "replied 3: all good",
    Trigger.USER_MESSAGE: "came back with another message",
    BY_HAND: "brought back by hand",
    Trigger.GOODBYE_TIMEOUT: "did not reply",
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
        "legend": {
            "position": "bottom",
            "labels": {"usePointStyle": True, "boxHeight": 7, "boxWidth": 7},
        },
        "tooltip": {"mode": "index"},
    },
}
"""Of Chart.js: the theme's own know no stacked bars. The colour of the words stands in admin.js."""


class Tile(NamedTuple):
    """One number, what it counts, and the list that has it all."""

    label: str
    value: int
    note: str = ""
    url: str = ""


class Bar(NamedTuple):
    """One of several shares of a whole."""

    label: str
    number: int
    percent: int


class Run(NamedTuple):
    """One run of the daily job."""

    url: str
    as_of: datetime | None
    """None if no calendar has it."""
    started: str
    outcome: str
    color: str
    failed: int
    moved: int
    undone: int
    """How many of these moves were taken back."""
    skipped: int


TOLD: Final = tuple(
    f"engagement.view_{model}"
    for model in (
        "userengagementstate",
        "engagementstatetransition",
        "engagementmessage",
        "engagementjobrun",
    )
)
"""The permissions without which the front page has no numbers, only links."""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the front page shows, to whoever may see all that it tells of. The theme calls this."""
    if not request.user.has_perms(TOLD):
        return context
    now = moment_of(request)
    moves = dashboard_selectors.moves_by_day(now=now)
    return context | {
        "states": _states(),
        "due": _due(now),
        "next_run": near(first_run_from(now, run_time=engagement_settings().run_time), now=now),
        "messages_waiting": _messages(now),
        "runs": _runs(moves, now=now),
        "chart": json.dumps(_chart(moves, now=now)),
        "chart_title": f"Moves per day by trigger, last {DAYS_SHOWN} days",
        "chart_in_words": _in_words(moves),
        "chart_options": json.dumps(CHART_OPTIONS),
        "goodbyes": _goodbyes(moves),
        "days_shown": DAYS_SHOWN,
        "now": now,
    }


def _states() -> list[Tile]:
    return [
        Tile(state.label, count, url=_list("userengagementstate", f"state__exact={state.value}"))
        for state, count in dashboard_selectors.users_by_state().items()
    ]


def _due(now: datetime) -> list[Tile]:
    due = dashboard_selectors.due_by_check(now=now, policy=engagement_settings().policy)
    return [
        Tile(
            check.name,
            count.next_run,
            f"{check.trigger.label}; {count.now:,} due now",
            _list("userengagementstate", f"{DueFilter.parameter_name}={check.name}"),
        )
        for check, count in due.items()
    ]


def _messages(now: datetime) -> list[Tile]:
    backlog = dashboard_selectors.message_backlog()
    note = _when(backlog.oldest_pending_at, now=now) if backlog.pending else ""
    return [
        Tile("pending", backlog.pending, note, _list("engagementmessage", "status__exact=pending")),
        Tile("failed", backlog.failed, "", _list("engagementmessage", "status__exact=failed")),
    ]


def _when(oldest_pending_at: datetime | None, *, now: datetime) -> str:
    """When the messages that wait should have been sent, or will be."""
    if oldest_pending_at is None:
        return "the oldest was to be sent at no time that can be shown"
    if oldest_pending_at > now:
        return f"the first is to be sent {relative(oldest_pending_at, now=now)}"
    return f"the oldest was to be sent {relative(oldest_pending_at, now=now)}"


def _runs(moves: Sequence[MovesOfDay], *, now: datetime) -> list[Run]:
    undone: Counter[str | None] = Counter()
    for move in moves:
        undone[move.undone_job_id] += move.number
    latest = run_selectors.latest_runs()[:RUNS_SHOWN]
    return [_run(run, undone=undone[str(run.job_id)], now=now) for run in latest]


def _run(run: EngagementJobRun, *, undone: int, now: datetime) -> Run:
    outcome = run_selectors.status_of_run(run, now=now)
    return Run(
        url=reverse("admin:engagement_engagementjobrun_change", args=(run.pk,)),
        as_of=run.now,
        started=relative(run.started_at, now=now),
        outcome=outcome,
        color=colors.RUNS[outcome],
        failed=run.failed,
        moved=run.succeeded,
        undone=undone,
        skipped=run.skipped,
    )


def _chart(moves: Sequence[MovesOfDay], *, now: datetime) -> dict[str, object]:
    """Stacked bars, as Chart.js wants them."""
    first_day = dashboard_selectors.first_instant(now).date()
    days = [first_day + timedelta(days=number) for number in range(DAYS_SHOWN)]
    counts: Counter[tuple[object, str]] = Counter()
    for move in moves:
        counts[move.day, move.trigger] += move.number
    return {
        "labels": [f"{day.day} {day:%b}" for day in days],
        "datasets": [
            {
                "label": trigger.label,
                "data": [counts[day, trigger.value] for day in days],
                "backgroundColor": TRIGGER_COLORS[trigger],
                "maxBarThickness": 24,
            }
            for trigger in Trigger
            if any(counts[day, trigger.value] for day in days)
        ],
    }


def _in_words(moves: Sequence[MovesOfDay]) -> str:
    """What the chart adds up to, for those who do not see it."""
    counts: Counter[str] = Counter()
    for move in moves:
        counts[move.trigger] += move.number
    told = [f"{trigger.label} {counts[trigger.value]:,}" for trigger in Trigger if counts[trigger.value]]
    return ", ".join(told) or "none"


def _goodbyes(moves: Sequence[MovesOfDay]) -> list[Bar]:
    """How the goodbyes ended that ended in these days."""
    counts: Counter[str] = Counter()
    for move in moves:
        if move.from_state == State.GOODBYE_SENT:
            counts[BY_HAND if move.is_manual else move.trigger] += move.number
        elif move.trigger == Trigger.RUN_UNDONE and move.to_state == State.GOODBYE_SENT:
            # Runs end goodbyes in one way only. What was undone may have ended before these days.
            counts[Trigger.GOODBYE_TIMEOUT] -= move.number
    shown = {label: max(counts[end], 0) for end, label in ENDS_OF_A_GOODBYE.items()}
    total = sum(shown.values())
    return [
        Bar(label, number, round(100 * number / total) if total else 0) for label, number in shown.items()
    ]


def _list(model: str, query: str) -> str:
    return f"{reverse(f'admin:engagement_{model}_changelist')}?{query}"
