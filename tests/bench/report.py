"""The figures as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Final

import django
import psycopg
from django.db import connection
from rich import box
from rich.console import Console
from rich.table import Table

from tests.bench.contenders import FLOOR, JOB
from tests.bench.measuring import Measurement, median
from tests.bench.profile import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bench.profile import Share

WIDTH: Final = 100


class Shape(StrEnum):
    """How many users there are, and how many of them are due, when growth is measured."""

    A_TENTH = "a tenth of the size due"
    ALL = "the whole size due"
    FEW_AMONG_FEW = "1,000 due among 10,000"
    FEW_AMONG_MANY = "1,000 due among the whole size"
    NOBODY = "nobody due among 10,000"


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was measured in one go."""

    size: int
    rounds: int
    contenders: Mapping[str, list[Measurement]]
    growth: Mapping[str, Measurement]
    machine: Mapping[str, str]

    @property
    def medians(self) -> dict[str, Measurement]:
        return {name: median(measurements) for name, measurements in self.contenders.items()}

    def ratios(self) -> dict[str, float]:
        """What is promised, as ratios of medians."""
        medians, growth = self.medians, self.growth
        ratios = {}
        if {FLOOR.name, JOB.name} <= medians.keys():
            floor, job = medians[FLOOR.name].seconds, medians[JOB.name].seconds
            best = min(one.seconds for name, one in medians.items() if name.startswith(JOB.name))
            ratios["the job with its defaults / floor"] = job / floor
            ratios["the job with the best number of workers / floor"] = best / floor
            for name in ("one by one", "django-fsm-2"):
                if name in medians:
                    ratios[f"{name} / the job"] = medians[name].seconds / job
        if growth:
            tenth, whole = growth[Shape.A_TENTH], growth[Shape.ALL]
            ratios["time, whole size / a tenth"] = whole.seconds / tenth.seconds
            ratios["peak memory, whole size / a tenth"] = (whole.peak_megabytes or 0) / (
                tenth.peak_megabytes or 1
            )
            ratios["1,000 due among the whole size / among 10,000"] = (
                growth[Shape.FEW_AMONG_MANY].seconds / growth[Shape.FEW_AMONG_FEW].seconds
            )
        return ratios


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'),"
            " current_setting('shared_buffers'), current_setting('max_wal_size')"
        )
        version, shared_buffers, max_wal_size = cursor.fetchone()
    return {
        "cores": str(os.cpu_count()),
        "processor": platform.machine(),
        "system": platform.system(),
        "Python": platform.python_version(),
        "Django": django.get_version(),
        "psycopg": f"{psycopg.__version__} ({psycopg.pq.__impl__})",
        "PostgreSQL": version.split()[0],
        "shared_buffers": shared_buffers,
        "max_wal_size": max_wal_size,
    }


def text(result: Result) -> str:
    """Two tables, and what they were measured on."""
    return _printed(
        _contenders_table(result),
        *([_growth_table(result)] if result.growth else []),
        *(f"{name}: {ratio:.2f}" for name, ratio in result.ratios().items()),
        ", ".join(f"{name} {value}" for name, value in result.machine.items()),
    )


def _printed(*parts: Table | str) -> str:
    buffer = StringIO()
    console = Console(file=buffer, width=WIDTH, highlight=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _contenders_table(result: Result) -> Table:
    table = Table(
        title=f"{result.size:,} due users, medians of the rounds",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("contender")
    for heading in ("rounds", "seconds", "rows per second", "peak MB", "x floor"):
        table.add_column(heading, justify="right")
    floor = result.medians.get(FLOOR.name)
    for name, one in result.medians.items():
        table.add_row(
            name,
            str(len(result.contenders[name])),
            f"{one.seconds:.2f}",
            f"{result.size / one.seconds:,.0f}",
            f"{one.peak_megabytes:.0f}" if one.peak_megabytes else "",
            f"{one.seconds / floor.seconds:.2f}" if floor else "",
        )
    return table


def _growth_table(result: Result) -> Table:
    table = Table(title="How the job grows", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("users")
    for heading in ("seconds", "peak MB"):
        table.add_column(heading, justify="right")
    for name, one in result.growth.items():
        table.add_row(name, f"{one.seconds:.2f}", f"{one.peak_megabytes:.0f}")
    return table


def profile_text(shares: Mapping[str, Share], *, size: int) -> str:
    """A line for each step of the job."""
    table = Table(
        title=f"Microseconds for each of {size:,} due users, by step",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_footer=True,
    )
    client = sum(share.client for share in shares.values()) * MICROSECONDS
    server = sum(share.server for share in shares.values()) * MICROSECONDS
    table.add_column("step", "all together")
    table.add_column("Python", f"{client:.1f}", justify="right")
    table.add_column("waiting for PostgreSQL", f"{server:.1f}", justify="right")
    for step, share in shares.items():
        table.add_row(step, f"{share.client * MICROSECONDS:.1f}", f"{share.server * MICROSECONDS:.1f}")
    return _printed(table)


def as_json(result: Result) -> str:
    """Every measurement, and the ratios."""
    return (
        json.dumps(
            {
                "size": result.size,
                "rounds": result.rounds,
                "machine": dict(result.machine),
                "ratios": result.ratios(),
                "contenders": {name: list(map(asdict, all_)) for name, all_ in result.contenders.items()},
                "growth": {name: asdict(one) for name, one in result.growth.items()},
            },
            indent=2,
        )
        + "\n"
    )


def draw(result: Result, path: Path) -> None:
    """A bar for each contender: how many times the floor it takes."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Text stays text, and the same figures give the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench"})
    names = list(reversed(result.medians))
    floor = result.medians[FLOOR.name].seconds
    factors = [result.medians[name].seconds / floor for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(names) + 1.4), layout="constrained")
    bars = axes.barh(names, factors, color=["#2a78d6" if JOB.name in name else "#898781" for name in names])
    axes.bar_label(bars, [f"{factor:.1f} x" for factor in factors], padding=4)
    axes.set_xscale("log")
    axes.set_xlabel("times the floor (logarithmic)")
    axes.set_title(f"Moving {result.size:,} due users: time beside one hand-written SQL statement")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})
