"""A replay without processes and databases of its own: what it makes of a log, and what ends it."""

from __future__ import annotations

import json
from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.replay import replay as replay_service
from engagement.replay.replay import replay_activity_log
from engagement.replay.replay_player import ReplayFailed, ReplayInterrupted
from engagement.services.resilience.stop import StopRequest
from tests.database import on_every_move
from tests.integration.operation.random_users import taken_back
from tests.integration.replay.logs import DAY, HOUR, MIDNIGHT, TICK, Row, write_log
from tests.reference import replay as reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engagement.replay.replay_log import ReplayLog
    from engagement.replay.replay_result import PolicyResult
    from engagement.replay.replay_shares import Play

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_this_process")]

FIRST: Final = MIDNIGHT.date()
LAST: Final = date(2026, 3, 25)
JOB: Final = MIDNIGHT + 6 * HOUR


class Watcher:
    """Somebody who counts the days."""

    due = done = 0

    def started(self, *, due: int) -> None:
        self.due = due

    def day_done(self) -> None:
        self.done += 1


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def play_here(
        whole: ReplayLog, *, shares: int, play: Play, stop: StopRequest, day_done: Callable[[], None]
    ) -> list[PolicyResult]:
        assert shares == 1
        return list(play(whole, stop, day_done))

    monkeypatch.setattr(replay_service, "play_shares", play_here)
    monkeypatch.setattr(replay_service, "scratch_database", taken_back)
    monkeypatch.setattr(replay_service, "drop_left_overs", lambda: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of everything something, for silences of 3 and of 5 days."""
    told_at = JOB + 3 * DAY
    rows = [
        Row("silent", MIDNIGHT),
        Row("long ago", MIDNIGHT - 9 * DAY),
        Row("too late", MIDNIGHT + 40 * DAY),
    ]
    for text in ("1", "2.", "(3)", "STOP!", "oi", ""):
        rows += [
            Row(f"says {text}", moment, said)
            for moment, said in ((MIDNIGHT + HOUR, ""), (told_at, text), (told_at, text))
        ]
        rows += [Row(f"says {text}", told_at + 8 * DAY, "Start.")] if text != "2." else []
    rows += [
        Row("no address", MIDNIGHT, whatsapp_jid=""),
        Row("new address", MIDNIGHT, whatsapp_jid=""),
        Row("new address", MIDNIGHT, locale="pt-BR"),
        Row("opted out", MIDNIGHT, reengagement_opt_out="true"),
        Row("opts out", MIDNIGHT),
        Row("opts out", MIDNIGHT + HOUR, reengagement_opt_out="true"),
        Row("opts in", MIDNIGHT, reengagement_opt_out="true"),
        Row("opts in", MIDNIGHT + HOUR),
        Row("changes nothing", MIDNIGHT, "parar"),
        Row("changes nothing", MIDNIGHT + HOUR),
        Row("back soon", MIDNIGHT),
        Row("back soon", told_at + 7 * DAY),
        Row("back later", MIDNIGHT),
        Row("back later", told_at + 7 * DAY + TICK),
        Row("back before the job", MIDNIGHT),
        Row("back before the job", told_at + 8 * DAY - HOUR),
    ]
    return write_log(tmp_path, rows)


def test_days_and_policies_are_what_the_reference_finds(path: Path) -> None:
    watcher = Watcher()
    found = replay_activity_log(
        path=path, first_date=FIRST, last_date=LAST, inactivity_days=[3, 5], progress=watcher
    )
    told: dict[str, Any] = found.as_json()
    rows = reference.read_rows(path)
    for days, policy in zip((3, 5), told["policies"], strict=True):
        expected = reference.replay(rows, days=days, first=FIRST, last=LAST)
        assert json.dumps(policy, sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert all(told["policies"][0]["totals"].values())
    assert all(told["policies"][0]["comparison"].values())
    assert (watcher.due, watcher.done) == (48, 48)


def test_users_and_events_are_counted_once_as_far_as_the_period_goes(path: Path) -> None:
    found = replay_activity_log(path=path, first_date=FIRST, last_date=LAST, inactivity_days=[20])
    assert (found.period.first_date, found.period.last_date) == (FIRST, LAST)
    assert (found.users, found.unreachable, found.events, found.history_events) == (17, 1, 41, 1)
    assert found.ignored_columns == ()


def test_nobody_needs_to_watch_and_duration_is_that_of_the_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([100.0, 103.25])
    monkeypatch.setattr(replay_service, "time", SimpleNamespace(monotonic=seconds.__next__))
    monkeypatch.setattr(replay_service, "play_shares", lambda _log, **_: [])
    assert replay_activity_log(path=path, first_date=FIRST).duration.total_seconds() == 3.25


def test_replay_that_is_asked_to_stop_stops(path: Path) -> None:
    stop = StopRequest()
    stop.ask(15)
    with pytest.raises(ReplayInterrupted):
        replay_activity_log(path=path, first_date=FIRST, stop=stop)


@pytest.mark.parametrize(("users", "who"), [(["ana"], "1 user"), (["ana", "ben"], "2 users")])
def test_job_that_cannot_move_somebody_ends_the_replay(tmp_path: Path, users: list[str], who: str) -> None:
    refuse_goodbyes(code="P0001")
    path = write_log(tmp_path, [*(Row(user, MIDNIGHT - 20 * DAY) for user in users), Row("cid", MIDNIGHT)])
    with pytest.raises(ReplayFailed) as error:
        replay_activity_log(path=path, first_date=FIRST)
    assert str(error.value) == f"The job of 2026-03-02 failed: {who} could not be moved; the log says why."


def test_job_that_cannot_go_on_says_why(path: Path) -> None:
    refuse_goodbyes(code="42703")
    with pytest.raises(ReplayFailed, match=r"The job of 2026-03-05 failed: The database cannot be used"):
        replay_activity_log(path=path, first_date=FIRST + 3 * DAY, inactivity_days=[3])


def refuse_goodbyes(*, code: str) -> None:
    on_every_move(
        f"""
        IF NEW.state = 'goodbye_sent' THEN
            RAISE EXCEPTION 'no goodbye' USING ERRCODE = '{code}';
        END IF;
        """
    )
