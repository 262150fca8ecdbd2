"""What the command prints, draws and logs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest

from engagement.management.output import replay_plot, replay_report
from engagement.replay.comparison import Comparison, Counts, DayResult, PolicyResult, ReplayResult
from engagement.replay.period import Period
from engagement.states import State
from tests.integration.replay.logs import MIDNIGHT, Row, write_log
from tests.running import PROJECT, run_command
from tests.times import DAY

if TYPE_CHECKING:
    from pathlib import Path

FIRST: Final = date(2026, 3, 1)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT + 15 * DAY)])


def policy(inactivity_days: int, *, days: int = 31) -> PolicyResult:
    """Two thousand users, of whom one more is dormant every day."""
    return PolicyResult(
        inactivity_days,
        [
            DayResult(
                FIRST + timedelta(days=number),
                Counts(goodbyes=40, goodbye_timeouts=30, reminders_due=2, returns=5),
                {State.ACTIVE: 2_000 - number, State.GOODBYE_SENT: 10, State.DORMANT: number + 1},
            )
            for number in range(days)
        ],
        Comparison(
            1_240,
            wrong_goodbyes=124,
            came_back_later=16,
            answered=100,
            never_came_back=1_000,
            days_waited_mean=14.81,
            days_waited_median=14.5,
        ),
    )


def result(*policies: PolicyResult, **others: Any) -> ReplayResult:
    values: dict[str, Any] = {
        "period": Period(FIRST, FIRST + timedelta(days=len(policies[0].days) - 1)),
        "users": 2_010,
        "unreachable": 0,
        "events": 6_200,
        "history_events": 0,
        "policies": policies,
        "duration": timedelta(seconds=2),
        "ignored_columns": (),
    }
    return ReplayResult(**values | others)


# The result


@pytest.mark.django_db
def test_json_of_one_policy_has_its_days_at_the_top(log: Path) -> None:
    outcome = run_command("replay_activity_log", str(log), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    told = outcome.json
    assert list(told) == [
        "file", "from", "to", "users", "events", "inactivity_days", "totals", "comparison", "days",
    ]  # fmt: skip
    assert (told["file"], told["from"], told["to"]) == (str(log), "2026-03-02", "2026-03-17")
    assert (told["users"], told["events"], told["inactivity_days"]) == (2, 2, 14)
    assert told["days"][14] == {
        "date": "2026-03-16",
        "goodbyes": 1,
        "goodbye_timeouts": 0,
        "reminders_due": 0,
        "returns": 0,
        "states": {"active": 0, "goodbye_sent": 1, "help_flow": 0, "remind_later": 0, "dormant": 0},
    }


def test_json_of_several_policies_has_a_list_of_them() -> None:
    several, one = result(policy(7), policy(14)).as_json(), result(policy(14)).as_json()
    assert list(several) == ["from", "to", "users", "events", "policies"]
    assert one | {"policies": [policy(7).as_json(), policy(14).as_json()]} == one | several
    json.dumps(several)


def test_table_shows_policies_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagement.management.output.terminal._writes_lines", lambda: False)
    many = result(policy(7), policy(14), unreachable=10, history_events=200, ignored_columns=("note",))
    assert replay_report.report(many, name="log.csv").splitlines() == [
        "Replay from 2026-03-01 to 2026-03-31",
        "+-------------------------+--------+---------+",
        "| goodbye after           | 7 days | 14 days |",
        "+-------------------------+--------+---------+",
        "| goodbyes sent           |  1,240 |   1,240 |",
        "|   wrong: back in a week |    124 |     124 |",
        "|   wrong ones in %       |   10.0 |    10.0 |",
        "|   came back later       |     16 |      16 |",
        "|   answered              |    100 |     100 |",
        "|   never came back       |  1,000 |   1,000 |",
        "|     days waited, mean   |   14.8 |    14.8 |",
        "|     days waited, median |   14.5 |    14.5 |",
        "+-------------------------+--------+---------+",
        "| goodbyes timed out      |    930 |     930 |",
        "| reminders due           |     62 |      62 |",
        "| returns                 |    155 |     155 |",
        "+-------------------------+--------+---------+",
        "| active at the end       |  1,970 |   1,970 |",
        "| goodbye_sent at the end |     10 |      10 |",
        "| help_flow at the end    |      0 |       0 |",
        "| remind_later at the end |      0 |       0 |",
        "| dormant at the end      |     31 |      31 |",
        "+-------------------------+--------+---------+",
        "log.csv: 6,200 events of 2,010 users.",
        "No goodbye is possible without a whatsapp_jid: 10 users.",
        "Before the first day, played without runs: 200 events.",
        "Columns that were not read: 'note'.",
        "Played 62 days and 12,400 events in 2.0 s: 31 days or 6,200 events per second.",
    ]


@pytest.mark.django_db
def test_log_without_addresses_says_why_no_goodbye_was_sent(tmp_path: Path) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("user,occurred_at\nana,2026-03-02T12:00:00Z\nben,2026-03-02T12:00:00Z\n")
    outcome = run_command("replay_activity_log", str(bare), "--to", "2026-03-20")
    assert "No goodbye is possible without a whatsapp_jid: 2 users." in outcome.out.splitlines()


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_table_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    styled = replay_report.report(result(policy(7), policy(14), policy(30)), name="log.csv")
    text = re.sub(r"\x1b\[[\d;]*m", "", styled)
    table = text.partition("log.csv:")[0].splitlines()
    assert max(map(len, table)) <= int(columns)
    assert "1,240" in text
    assert "…" not in text


def test_nobody_goodbye_is_no_percentage() -> None:
    nobody = PolicyResult(14, policy(14).days, Comparison())
    assert "wrong ones in %" in replay_report.report(result(nobody), name="log.csv")


# The picture


def words(svg: bytes) -> list[str]:
    tree = ET.fromstring(svg)  # noqa: S314  our own
    return [(element.text or "").strip() for element in tree.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("days", [1, 31])
def test_picture_is_titled_labelled_and_reproducible(days: int) -> None:
    pair = result(policy(7, days=days), policy(14, days=days))
    svg = replay_plot.svg_of(pair)
    assert svg == replay_plot.svg_of(pair)
    told = words(svg)
    assert "2,010 users by state, at the end of each day (UTC)" in told
    assert "goodbye after 7 days of silence: 1,240 sent, 124 of them wrong (back within a week)" in told
    assert told.count("users") == 2
    assert {"active", "waiting for reply", "dormant"} <= set(told)
    assert "getting help" not in told, "nobody ever was"


@pytest.mark.django_db
def test_picture_is_written_beside_the_result(log: Path, tmp_path: Path) -> None:
    target = tmp_path / "picture.svg"
    outcome = run_command("replay_activity_log", str(log), "--plot", str(target))
    assert (outcome.code, outcome.err) == (0, "")
    assert "goodbyes sent" in outcome.out
    assert "2 users by state, at the end of each day (UTC)" in words(target.read_bytes())


@pytest.mark.django_db
def test_result_is_printed_though_the_picture_cannot_be_written(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder" / "picture.svg"
    target.parent.mkdir()
    draw = replay_plot.svg_of

    def draw_without_a_folder(found: ReplayResult) -> bytes:
        target.parent.rmdir()
        return draw(found)

    monkeypatch.setattr("engagement.management.commands.replay_activity_log.svg_of", draw_without_a_folder)
    outcome = run_command("replay_activity_log", str(log), "--json", "--plot", str(target))
    assert (outcome.code, outcome.json["users"]) == (1, 2)
    assert outcome.err == f"The picture could not be written to {target}: No such file or directory."


def test_missing_matplotlib_is_told_before_the_work(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = run_command("replay_activity_log", str(log), "--plot", str(tmp_path / "picture.svg"))
    assert (outcome.out, outcome.code) == ("", 1)
    assert outcome.err == (
        "--plot needs matplotlib, which is not installed;"
        " run pip install --require-hashes -r requirements/plot.txt"
    )


def test_other_commands_do_not_wait_for_matplotlib() -> None:
    program = (
        "import sys, django; django.setup();"
        "from engagement.management.commands import replay_activity_log, run_engagement_daily;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
        check=True,
    )
