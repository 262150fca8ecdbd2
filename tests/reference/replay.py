"""What a replay should find, told a second time: plain Python, nothing of the app, and no database.

Slow and simple on purpose. Where this and the app disagree, one of them has misread the design.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

STATES: Final = ("active", "goodbye_sent", "help_flow", "remind_later", "dormant")
COUNTS: Final = ("goodbyes", "goodbye_timeouts", "reminders_due", "returns")

# No normal form, only what the tests write: so that a mistake in the app's is not repeated here.
REPLIES: Final = {
    **dict.fromkeys(("1", "1️⃣", " Confuso!", "CONFUSED"), "help_flow"),
    **dict.fromkeys(("2", "2.", "ocupado", "Busy…"), "remind_later"),
    **dict.fromkeys(("3", "(3)", "tudo  certo", "All good!"), "dormant"),
}
OPT_OUT: Final = ("parar", "STOP!", "sair", "cancelar mensagens")
OPT_IN: Final = ("voltar", "Start.")
ORDINARY: Final = ("", "oi", "parar de fumar", "12", "1 2", "all good things", "restart")
TEXTS: Final = (*REPLIES, *OPT_OUT, *OPT_IN, *ORDINARY)


@dataclass
class User:
    """Where one user stands."""

    state: str
    active_at: datetime
    opted_out: bool
    jid: str
    goodbye_at: datetime | None = None
    remind_at: datetime | None = None
    answered_at: datetime | None = None
    answer: str = ""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, in the order of time; those of one instant in the order of the file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row["at"] = datetime.fromisoformat(row["occurred_at"]).astimezone(UTC)
        row["out"] = row.get("reengagement_opt_out") == "true"
    return sorted(rows, key=lambda row: row["at"])


def replay(rows: list[dict[str, Any]], *, days: int, first: date, last: date) -> dict[str, Any]:
    """What `--json` says of one policy."""
    told: list[dict[str, Any]] = []
    world = World(rows, silence=timedelta(days=days))
    world.play_until(instant(first))
    while first <= last:
        counts: Counter[str] = Counter()
        world.play_until(instant(first, hour=6), counts)
        world.run_job(instant(first, hour=6), counts)
        first += timedelta(days=1)
        world.play_until(instant(first), counts)
        told.append(
            {
                "date": (first - timedelta(days=1)).isoformat(),
                **{name: counts[name] for name in COUNTS},
                "states": {
                    state: sum(user.state == state for user in world.users.values()) for state in STATES
                },
            }
        )
    return {
        "inactivity_days": days,
        "totals": {name: sum(day[name] for day in told) for name in COUNTS},
        "comparison": world.judge(),
        "days": told,
    }


def instant(day: date, *, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


class World:
    """All users, and a log of which the first rows have been played."""

    def __init__(self, rows: list[dict[str, Any]], *, silence: timedelta) -> None:
        self.rows, self.silence = rows, silence
        self.played = 0
        self.users: dict[str, User] = {}
        self.last_rows: dict[str, dict[str, Any]] = {}
        self.goodbyes: list[tuple[str, datetime]] = []
        self.answers: set[tuple[str, datetime]] = set()

    def play_until(self, end: datetime, counts: Counter[str] | None = None) -> None:
        while self.played < len(self.rows) and self.rows[self.played]["at"] < end:
            row = self.rows[self.played]
            self.played += 1
            self.learn(row)
            was = self.users[row["user"]].state
            self.hear(row)
            if counts is not None and was != "active" and self.users[row["user"]].state == "active":
                counts["returns"] += 1

    def learn(self, row: dict[str, Any]) -> None:
        """What the log says of the user, where that is new."""
        name, before = row["user"], self.last_rows.get(row["user"])
        jid = row.get("whatsapp_jid") or ""
        if before is None:
            long_ago = row["at"] - timedelta(days=1)
            self.users[name] = User("active", active_at=long_ago, opted_out=row["out"], jid=jid)
        else:
            user = self.users[name]
            user.jid = jid
            if row["out"] != before["out"]:
                user.opted_out = row["out"]
        self.last_rows[name] = row

    def hear(self, row: dict[str, Any]) -> None:
        user, at, text = self.users[row["user"]], row["at"], (row.get("text") or "").strip()
        is_repeated = (at, text) == (user.answered_at, user.answer)
        if at > user.active_at and not is_repeated:
            self.move(row["user"], user, at, text)
        if text in OPT_OUT:
            user.opted_out = True
        if text in OPT_IN:
            user.opted_out = False

    def move(self, name: str, user: User, at: datetime, text: str) -> None:
        answers = {reply.strip(): state for reply, state in REPLIES.items()}
        if user.state == "goodbye_sent" and text in answers:
            user.state = answers[text]
            user.remind_at = at + timedelta(days=14)
            user.answered_at, user.answer = at, text
            self.answers.add((name, at))
        else:
            user.state = "active"
            user.active_at = at

    def run_job(self, now: datetime, counts: Counter[str]) -> None:
        for name, user in self.users.items():
            if user.state == "active" and user.active_at < now - self.silence:
                if user.jid and not user.opted_out:
                    user.state, user.goodbye_at = "goodbye_sent", now
                    self.goodbyes.append((name, now))
                    counts["goodbyes"] += 1
            elif user.state == "goodbye_sent":
                assert user.goodbye_at
                if user.goodbye_at + timedelta(hours=48) < now:
                    user.state = "dormant"
                    counts["goodbye_timeouts"] += 1
            elif user.state == "remind_later":
                assert user.remind_at
                if user.remind_at < now:
                    user.state = "dormant"
                    counts["reminders_due"] += 1

    def judge(self) -> dict[str, int]:
        found = Counter(map(self.verdict, self.goodbyes))
        verdicts = ("wrong_goodbyes", "came_back_later", "answered", "never_came_back")
        return {"goodbyes": len(self.goodbyes), **{name: found[name] for name in verdicts}}

    def verdict(self, goodbye: tuple[str, datetime]) -> str:
        name, told_at = goodbye
        seen = [row["at"] for row in self.rows if row["user"] == name and row["at"] >= told_at]
        if not seen:
            return "never_came_back"
        if (name, seen[0]) in self.answers:
            return "answered"
        is_soon = seen[0] <= told_at + timedelta(days=7)
        return "wrong_goodbyes" if is_soon else "came_back_later"
