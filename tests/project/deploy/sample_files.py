"""The files of docs/deploy, and what they must agree on."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from engagement.schedule import DEFAULT_RUN_TIME
from engagement.services.run_monitor import DEFAULT_MAX_AGE
from tests.project.docs.markdown import DOCS, REFERENCE, rows, section
from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPLOY: Final = DOCS / "deploy"

PYTHON: Final = "/srv/engagement/.venv/bin/python"
PROJECT_FOLDER: Final = "/srv/engagement"

CRON_SCHEDULE: Final = f"{DEFAULT_RUN_TIME.minute} {DEFAULT_RUN_TIME.hour} * * *"

NOT_RETRIED: Final = {
    int(code)
    for code, _, retry in rows(section(REFERENCE, "Exit codes"), first_column="code")
    if retry.startswith("does not help")
}
"""Exit codes after which a retry would end the same way."""

A_FEW_MINUTES: Final = timedelta(minutes=5)


def is_too_old_for(check_at: time, *, late_by: timedelta = timedelta(0)) -> bool:
    """Whether yesterday's run, which succeeded `late_by` after its time, is clearly too old at `check_at`."""
    today = datetime(2026, 3, 2, tzinfo=UTC)
    run_at = datetime.combine(today - timedelta(days=1), DEFAULT_RUN_TIME) + late_by
    return datetime.combine(today, check_at, UTC) - run_at > DEFAULT_MAX_AGE + A_FEW_MINUTES


def sample(name: str, *, here: Mapping[str, str] | None = None) -> str:
    """A file with the paths of this machine: the project's own, and `here` for others."""
    text = (DEPLOY / name).read_text()
    for path, own in {PYTHON: sys.executable, PROJECT_FOLDER: str(PROJECT), **(here or {})}.items():
        text = text.replace(path, own)
    return text
