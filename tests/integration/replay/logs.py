"""Activity logs for the tests of replays."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.running import run_command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIDNIGHT: Final = datetime(2026, 3, 2, tzinfo=UTC)
"""The beginning of most logs' first day."""

TICK: Final = timedelta(microseconds=1)


class Row(NamedTuple):
    """One event; by default its user has an address and has not opted out."""

    user: str
    occurred_at: datetime
    text: str = ""
    reengagement_opt_out: str = "false"
    whatsapp_jid: str = "99900000001@s.whatsapp.net"
    locale: str = "en"


def write_log(folder: Path, rows: Iterable[Row]) -> Path:
    path = folder / "log.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows((row.user, row.occurred_at.isoformat(), *row[2:]) for row in rows)
    return path


def replay(path: Path, *arguments: str) -> Any:
    """The result of `--json`, without the keys that are common to all policies."""
    outcome = run_command("replay_activity_log", str(path), "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    common = {"file", "from", "to", "users", "events"}
    return {key: value for key, value in outcome.json.items() if key not in common}
