"""Who competes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django.db import connection
from uuid_utils.compat import uuid7

from tests.bench import measuring
from tests.bench.tables import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.measuring import Measurement

_FLOOR_SQL: Final = (Path(__file__).parent / "floor.sql").read_text()


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to move all due users."""

    name: str
    run: Callable[[], Measurement]
    most_users: int | None = None
    """Above this it would take hours."""
    is_slow: bool = False
    """It takes so much longer than the others that one round says enough."""


def floor() -> Measurement:
    """The statement alone: no program to start, nothing to read."""

    def statement() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_FLOOR_SQL, {"now": NOW, "job_id": str(uuid7())})

    return measuring.of_call(statement)


def job(*options: str) -> Measurement:
    """The command, from the start of Python to its end."""
    return measuring.of_process("manage.py", "run_engagement_daily", "--now", NOW.isoformat(), *options)


def module(name: str) -> Callable[[], Measurement]:
    """A `run()` in this package, in a process of its own."""
    script = f"import django; django.setup(); from tests.bench.{name} import run; run()"
    return lambda: measuring.of_process("-c", script)


FLOOR: Final = Contender("floor: one SQL statement", floor)
JOB: Final = Contender("the job", job)
CONTENDERS: Final = (
    FLOOR,
    JOB,
    Contender("the job, 1 worker", lambda: job("--workers", "1")),
    Contender("the job, 2 workers", lambda: job("--workers", "2")),
    Contender("the job, 3 workers", lambda: job("--workers", "3")),
    Contender("the job, 4 workers", lambda: job("--workers", "4")),
    Contender("one by one", module("one_by_one"), most_users=100_000, is_slow=True),
    Contender("django-fsm-2", module("fsm"), most_users=100_000, is_slow=True),
)
