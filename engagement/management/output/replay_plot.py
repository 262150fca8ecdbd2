"""The plot of a replay: users per state over time."""

from __future__ import annotations

from io import BytesIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from engagement.formatting import count_text
from engagement.states import DAY, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from engagement.replay.comparison import PolicyResult, ReplayResult

COLOURS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.ACTIVE: "#0072b2",
        State.HELP_FLOW: "#009e73",
        State.REMIND_LATER: "#56b4e9",
        State.GOODBYE_SENT: "#e69f00",
        State.DORMANT: "#c8c8c8",
    }
)
"""From bottom to top. The colours are Okabe and Ito's: they differ for any colour vision, and neighbours
differ in grey print."""

_STYLE: Final[Mapping[Any, Any]] = MappingProxyType(
    {
        # Text stays text, and the same result gives the same file.
        "svg.fonttype": "none",
        "svg.hashsalt": "replay",
        "date.converter": "concise",
        "font.size": 10.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def svg_of(result: ReplayResult) -> bytes:
    """An SVG file with an area chart for each policy, one below the other, with shared axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = len(result.policies)
    with mpl.rc_context(dict(_STYLE)):
        figure = Figure(figsize=(9, 1.4 + 2.8 * count), layout="constrained")
        all_axes = figure.subplots(count, sharex=True, sharey=True, squeeze=False)[:, 0]
        title = f"{count_text(result.users, 'user')} by state, at the end of each day (UTC)"
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left")
        states = [state for state in COLOURS if _is_ever_used(state, result.policies)]
        for axes, policy in zip(all_axes, result.policies, strict=True):
            _draw(axes, policy, states)
        handles, labels = all_axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(states), frameon=False)
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Title": title})
    return file.getvalue()


def _is_ever_used(state: State, policies: Sequence[PolicyResult]) -> bool:
    return any(day.states.get(state) for policy in policies for day in policy.days)


def _draw(axes: Axes, policy: PolicyResult, states: Sequence[State]) -> None:
    # Each day is a step; the last one ends where the next day would begin.
    last = policy.days[-1]
    edges: Any = [*(day.date for day in policy.days), last.date + DAY]
    counts = [[day.states.get(state, 0) for day in (*policy.days, last)] for state in states]
    axes.stackplot(
        edges,
        *counts,
        labels=[str(state.label) for state in states],
        colors=[COLOURS[state] for state in states],
        linewidth=0,
        step="post",
    )
    comparison = policy.comparison
    axes.set_title(
        f"goodbye after {count_text(policy.inactivity_days, 'day')} of silence:"
        f" {comparison.goodbyes:,} sent, {comparison.wrong_goodbyes:,} of them wrong (back within a week)",
        loc="left",
        fontsize=10,
    )
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("users")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
