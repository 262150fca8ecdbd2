"""The charts of the dashboard, each with a table of its numbers."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.admin import links
from engagement.formatting import number_text, percent_text, short_day_text
from engagement.selectors.dashboard import DAYS_SHOWN, first_instant
from engagement.selectors.goodbyes import GoodbyeFate
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from engagement.selectors.dashboard import DailyTransitions

WEEKS_SHOWN: Final = DAYS_SHOWN // 7

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
GOODBYE_OUTCOMES: Final[dict[str, Any]] = {
    Trigger.GOODBYE_RESPONSE_1: gettext_lazy("reply 1: confused"),
    Trigger.GOODBYE_RESPONSE_2: gettext_lazy("reply 2: busy"),
    Trigger.GOODBYE_RESPONSE_3: gettext_lazy("reply 3: all good"),
    Trigger.USER_MESSAGE: gettext_lazy("another message"),
    MANUAL: gettext_lazy("marked as active by support"),
    Trigger.GOODBYE_TIMEOUT: gettext_lazy("no reply"),
    GoodbyeFate.NEVER_SENT: gettext_lazy("never sent"),
}
WEEKLY_RATES: Final = (
    (
        gettext_lazy("Replied"),
        (Trigger.GOODBYE_RESPONSE_1, Trigger.GOODBYE_RESPONSE_2, Trigger.GOODBYE_RESPONSE_3),
        "#14b8a6",
    ),
    (gettext_lazy("Came back"), (Trigger.USER_MESSAGE, MANUAL), "#22c55e"),
    (gettext_lazy("No reply"), (Trigger.GOODBYE_TIMEOUT,), "#9ca3af"),
    (gettext_lazy("Never sent"), (GoodbyeFate.NEVER_SENT,), "#f59e0b"),
)
"""Title, outcomes and colour of what the weeks are compared by."""

AXIS: Final = {"border": {"display": False}, "grid": {"color": "#9ca3af33"}}
X_AXIS: Final = {
    **AXIS,
    "stacked": True,
    "grid": {"display": False},
    "ticks": {"maxRotation": 0, "autoSkipPadding": 12},
}
CHART_OPTIONS: Final = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "scales": {"x": X_AXIS, "y": {**AXIS, "stacked": True, "beginAtZero": True, "ticks": {"precision": 0}}},
    "plugins": {
        "legend": {"position": "bottom", "labels": {"usePointStyle": True, "boxHeight": 7, "boxWidth": 7}},
        "tooltip": {"mode": "index"},
    },
}
"""For Chart.js: the theme's own options have no stacked bars. admin.js sets the colour of the text."""


class Row(NamedTuple):
    """A row of a table: a title, with a link where a list has the rows behind it, and a cell per column."""

    title: str
    url: str
    cells: Sequence[tuple[str, str]]
    """A number, and its share where there is one."""


class Chart(NamedTuple):
    """A chart and its numbers."""

    title: str
    data: str
    """JSON for Chart.js; empty without numbers."""
    options: str
    summary: str
    """The totals, for screen readers."""
    columns: Sequence[str]
    rows: Sequence[Row]


class Bar(NamedTuple):
    """A share of a whole."""

    label: str
    number: int
    percent: int
    share: str
    """The percentage as text."""
    url: str


def transitions_chart(transitions: Sequence[DailyTransitions], *, now: datetime) -> Chart:
    """The transitions of each day, by trigger."""
    days = _days(now)
    counts: Counter[tuple[object, str]] = Counter()
    for group in transitions:
        counts[group.day, group.trigger] += group.number
    triggers = [trigger for trigger in Trigger if any(counts[day, trigger.value] for day in days)]
    series = [
        (str(trigger.label), TRIGGER_COLORS[trigger], [counts[day, trigger.value] for day in days])
        for trigger in triggers
    ]
    return Chart(
        title=_("Transitions per day by trigger, last %(days)d days") % {"days": DAYS_SHOWN},
        data=_stacked_bars(list(map(short_day_text, days)), series),
        options=json.dumps(CHART_OPTIONS),
        summary=_totals(series),
        columns=[str(trigger.label) for trigger in triggers],
        rows=[
            Row(
                short_day_text(day),
                links.transitions_between(day, day),
                [(number_text(counts[day, trigger.value]), "") for trigger in triggers],
            )
            for day in reversed(days)
            if any(counts[day, trigger.value] for trigger in triggers)
        ],
    )


def weekly_chart(transitions: Sequence[DailyTransitions], *, now: datetime) -> Chart:
    """How the goodbyes of each of the last weeks ended, in per cent. A week is seven days that end today."""
    days = _days(now)
    weeks = [days[len(days) - 7 * number :][:7] for number in range(WEEKS_SHOWN, 0, -1)]
    counts = [_rates(transitions, week) for week in weeks]
    labels = [f"{short_day_text(week[0])} - {short_day_text(week[-1])}" for week in weeks]
    series = [
        (str(title), color, [_percent(count[index], sum(count)) for count in counts])
        for index, (title, _outcomes, color) in enumerate(WEEKLY_RATES)
    ]
    options = json.loads(json.dumps(CHART_OPTIONS))
    options["scales"]["y"] |= {"max": 100, "ticks": {"stepSize": 25}}
    return Chart(
        title=_("Goodbyes per week, by outcome in per cent"),
        data=_stacked_bars(labels, series) if any(map(sum, counts)) else "",
        options=json.dumps(options),
        summary=_("the table below has the numbers"),
        columns=[_("Ended"), *(str(title) for title, _outcomes, _color in WEEKLY_RATES)],
        rows=[
            Row(
                label,
                _url_of_week(transitions, week),
                [
                    (number_text(sum(count)), ""),
                    *((number_text(part), percent_text(part, sum(count))) for part in count),
                ],
            )
            for label, week, count in reversed(list(zip(labels, weeks, counts, strict=True)))
        ],
    )


def goodbye_bars(transitions: Sequence[DailyTransitions], *, now: datetime) -> list[Bar]:
    """How the goodbyes that ended in these days ended; without the outcomes that none had."""
    days = _days(now)
    counts = outcomes_of(transitions)
    total = counts.total()
    return [
        Bar(
            str(label),
            counts[outcome],
            _percent(counts[outcome], total),
            percent_text(counts[outcome], total),
            _url_of(outcome, days),
        )
        for outcome, label in GOODBYE_OUTCOMES.items()
        if counts[outcome]
    ]


def outcomes_of(transitions: Iterable[DailyTransitions]) -> Counter[str]:
    """How many goodbyes ended in each way: not those that were undone, nor by a timeout that was undone."""
    counts: Counter[str] = Counter()
    for group in transitions:
        if _undoes_timeouts(group):
            # A run ends goodbyes by timeout only. The timeout may be older than the days shown.
            counts[_outcome_of(group, Trigger.GOODBYE_TIMEOUT)] -= group.number
        elif group.from_state == State.GOODBYE_SENT and group.trigger != Trigger.RUN_UNDONE:
            counts[MANUAL if group.is_manual else _outcome_of(group, group.trigger)] += group.number
    return +counts


def _undoes_timeouts(group: DailyTransitions) -> bool:
    return group.trigger == Trigger.RUN_UNDONE and group.to_state == State.GOODBYE_SENT


def _outcome_of(group: DailyTransitions, trigger: str) -> str:
    """How goodbyes ended: by this trigger, unless the users were never sent them."""
    return GoodbyeFate.NEVER_SENT if group.goodbye == GoodbyeFate.NEVER_SENT else trigger


def _rates(transitions: Iterable[DailyTransitions], week: Sequence[date]) -> list[int]:
    counts = outcomes_of(group for group in transitions if week[0] <= group.day <= week[-1])
    return [sum(counts[outcome] for outcome in outcomes) for _title, outcomes, _color in WEEKLY_RATES]


def _url_of_week(transitions: Iterable[DailyTransitions], week: Sequence[date]) -> str:
    """The list of the goodbyes that ended; none where timeouts were undone, which the list has too."""
    if any(_undoes_timeouts(group) for group in transitions if week[0] <= group.day <= week[-1]):
        return ""
    triggers = [trigger.value for trigger in Trigger if trigger != Trigger.RUN_UNDONE]
    from_state = State.GOODBYE_SENT.value
    return links.transitions_between(week[0], week[-1], trigger__exact=triggers, from_state__exact=from_state)


def _url_of(outcome: str, days: Sequence[date]) -> str:
    """The list of these transitions; none where the list has no such filter."""
    if outcome not in Trigger.values or outcome in {Trigger.USER_MESSAGE, Trigger.GOODBYE_TIMEOUT}:
        return ""
    from_state = State.GOODBYE_SENT.value
    return links.transitions_between(days[0], days[-1], trigger__exact=outcome, from_state__exact=from_state)


def _stacked_bars(labels: Sequence[str], series: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    """The data in the format of Chart.js; empty without series."""
    datasets = [
        {"label": label, "data": list(data), "backgroundColor": color, "maxBarThickness": 40}
        for label, color, data in series
    ]
    return json.dumps({"labels": list(labels), "datasets": datasets}) if datasets else ""


def _totals(series: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    return ", ".join(f"{label} {number_text(sum(data))}" for label, _color, data in series)


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0


def _days(now: datetime) -> list[date]:
    first_day = first_instant(now).date()
    return [first_day + timedelta(days=number) for number in range(DAYS_SHOWN)]
