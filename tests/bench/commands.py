"""How fast the other commands are, beside the least that each could take."""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from django.db import connection, transaction

from tests.bench import receiving, tables
from tests.bench.measuring import Measurement, median, of_call, of_process
from tests.bench.tables import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS: Final = 5
"""Of what takes less than a few seconds."""
START: Final = "import django; django.setup()"


class Figure(NamedTuple):
    """One command, and what it is measured against in the same round."""

    name: str
    measured: Measurement
    baseline_name: str
    baseline: Measurement

    @property
    def ratio(self) -> float:
        return self.measured.seconds / self.baseline.seconds


def report(size: int) -> str:
    """All figures, one a line, with `size` users."""
    lines = [f"{size:,} users; medians of {ROUNDS} rounds where Django's start is the baseline"]
    for figure in _figures(size):
        peak = figure.measured.peak_megabytes
        memory = f", {peak:.0f} MB" if peak else ""
        lines.append(
            f"{figure.name}: {figure.measured.seconds:.2f} s{memory};"
            f" ÷ {figure.baseline_name} ({figure.baseline.seconds:.2f} s) = {figure.ratio:.2f}"
        )
        sys.stderr.write(f"{lines[-1]}\n")
    return "\n".join([*lines, *receiving.lines(size)]) + "\n"


def _figures(size: int) -> Iterator[Figure]:
    tables.fill(users=10_000, due=0)
    yield _beside_start("run_engagement_daily, nobody due", _manage("run_engagement_daily", "--json"))
    for users in (size, max(size // 10, 1)):
        yield _loading(size, users)
    tables.fill(users=size, due=size)
    yield _beside_start("forecast_engagement, all due", _manage("forecast_engagement", "--now", _now()))
    run = of_process("manage.py", "run_engagement_daily", "--now", _now())
    yield _beside_start("explain_engagement", _manage("explain_engagement", _somebody(), "--now", _now()))
    yield _beside_start("forecast_engagement, all waiting", _manage("forecast_engagement", "--now", _now()))
    undo = of_process("manage.py", "undo_engagement_run", _latest_run())
    yield Figure("undo_engagement_run", undo, "the run", run)


def _beside_start(name: str, command: Callable[[], Measurement]) -> Figure:
    start = partial(of_process, "-c", START, DJANGO_SETTINGS_MODULE="config.settings")
    pairs = [(command(), start()) for _ in range(ROUNDS)]
    measured, starts = (median(list(each)) for each in zip(*pairs, strict=True))
    return Figure(name, measured, "Django's start", starts)


def _manage(*arguments: str) -> Callable[[], Measurement]:
    return partial(of_process, "manage.py", *arguments)


def _now() -> str:
    return NOW.isoformat()


def _somebody() -> str:
    return _value("SELECT user_id FROM user_engagement_states LIMIT 1")


def _latest_run() -> str:
    return _value("SELECT metadata->>'job_id' FROM engagement_state_transitions LIMIT 1")


def _value(query: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return str(cursor.fetchone()[0])


# Loading an activity log


def _loading(rows: int, users: int) -> Figure:
    """The command, and then COPY of the rows that it has left into the same empty tables."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.csv"
        _write_log(log, rows, users)
        tables.fill(users=0, due=0)
        loading = of_process("manage.py", "load_activity_log", str(log), "--as-of", _now())
        name = f"load_activity_log, {rows:,} rows of {users:,} users"
        return Figure(name, loading, "COPY of the rows it leaves", _copied(Path(folder)))


def _write_log(path: Path, rows: int, users: int) -> None:
    with path.open("w") as file:
        file.write("user,occurred_at,locale,whatsapp_jid,reengagement_opt_out\n")
        for number in range(rows):
            user = number * 7919 % users
            at = (NOW - timedelta(seconds=30 * (rows - number))).isoformat()
            file.write(f"user-{user},{at},{'en' if user % 5 == 0 else ''},9990{user:09}@s.whatsapp.net,\n")


def _copied(folder: Path) -> Measurement:
    for table in _LOADED:
        query = f"COPY (TABLE {table} ORDER BY user_id) TO STDOUT"
        with connection.cursor() as cursor, (folder / table).open("wb") as file, cursor.copy(query) as copy:
            file.writelines(copy)
    tables.fill(users=0, due=0)

    def copy_all() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            for table in _LOADED:
                with (folder / table).open("rb") as file, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    for chunk in iter(partial(file.read, 1 << 18), b""):
                        copy.write(chunk)

    return of_call(copy_all)


_LOADED: Final = ("user_profiles", "user_engagement_states")
