"""What a replay makes of a few users. None of these tests may use the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.replay.simulation import ORDINARY_TEXT, ReplayInterrupted, replay_activity_log
from engagement.replies import REPLIES, plain_words, preference_in
from engagement.services.job.progress import RunListener
from engagement.services.resilience.stop import StopRequest
from tests.integration.replay.logs import MIDNIGHT, TICK, Row, replay, write_log
from tests.times import DAY, HOUR

if TYPE_CHECKING:
    from pathlib import Path

RUN: Final = MIDNIGHT + 6 * HOUR
"""The first day's."""


def on(found: Any, day: int) -> dict[str, int]:
    """The counts of a day that are not zero; the first day is 0."""
    counts = {key: value for key, value in found["days"][day].items() if key not in {"date", "states"}}
    return {key: value for key, value in counts.items() if value}


def states_on(found: Any, day: int) -> dict[str, int]:
    return {state: count for state, count in found["days"][day]["states"].items() if count}


def test_silent_user_gets_a_goodbye_and_becomes_dormant(tmp_path: Path) -> None:
    found = replay(write_log(tmp_path, [Row("ana", RUN - TICK)]), "--to", "2026-03-31")
    assert [found["days"][0]["date"], found["days"][-1]["date"]] == ["2026-03-02", "2026-03-31"]
    assert {day: on(found, day) for day in range(30) if on(found, day)} == {
        14: {"goodbyes": 1},
        17: {"goodbye_timeouts": 1},
    }
    assert [states_on(found, day) for day in (13, 14, 16, 17)] == [
        {"active": 1},
        {"goodbye_sent": 1},
        {"goodbye_sent": 1},
        {"dormant": 1},
    ]
    assert found["totals"] == {"goodbyes": 1, "goodbye_timeouts": 1, "reminders_due": 0, "returns": 0}


@pytest.mark.parametrize(
    ("offset", "day"), [(-TICK, 14), (0 * TICK, 15)], ids=["just before the run", "at the time of the run"]
)
def test_exactly_fourteen_days_of_silence_are_not_enough(tmp_path: Path, offset: Any, day: int) -> None:
    found = replay(write_log(tmp_path, [Row("ana", RUN + offset)]), "--to", "2026-03-20")
    assert [number for number in range(19) if on(found, number)] == [day, day + 3]


def test_user_appears_with_their_first_message(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT + DAY), Row("cid", MIDNIGHT + 2 * DAY - TICK)]
    found = replay(write_log(tmp_path, rows), "--to", "2026-03-03")
    assert [states_on(found, day) for day in (0, 1)] == [{"active": 1}, {"active": 3}]


def test_events_before_the_first_day_are_played_without_runs(tmp_path: Path) -> None:
    rows = [
        Row("long silent", MIDNIGHT - 60 * DAY),
        Row("opted out", MIDNIGHT - 60 * DAY, "parar"),
        Row("opted in again", MIDNIGHT - 60 * DAY, "parar"),
        Row("opted in again", MIDNIGHT - 59 * DAY, "voltar"),
        Row("active", MIDNIGHT - TICK),
        Row("new", MIDNIGHT + 12 * HOUR),
    ]
    found = replay(write_log(tmp_path, rows), "--from", "2026-03-02")
    assert len(found["days"]) == 1
    assert on(found, 0) == {"goodbyes": 2}
    assert states_on(found, 0) == {"active": 3, "goodbye_sent": 2}


def test_events_after_the_last_day_only_judge_goodbyes(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT), Row("ana", MIDNIGHT + 15 * DAY, "1")]
    found = replay(write_log(tmp_path, rows), "--to", "2026-03-16")
    assert states_on(found, 14) == {"goodbye_sent": 2}
    assert found["comparison"] == {
        "goodbyes": 2,
        "wrong_goodbyes": 1,
        "came_back_later": 0,
        "answered": 0,
        "never_came_back": 1,
        "days_waited_mean": 14.25,
        "days_waited_median": 14.25,
    }


def test_replies_move_users_as_in_the_assistant(tmp_path: Path) -> None:
    replied_at = RUN + 14 * DAY + HOUR
    rows = [Row(text, MIDNIGHT) for text in ("1", "2", "3", "hello")]
    rows += [Row(text, replied_at, text) for text in ("1", "2", "3", "hello")]
    found = replay(write_log(tmp_path, rows), "--to", "2026-03-31")
    assert states_on(found, 14) == {"active": 1, "help_flow": 1, "remind_later": 1, "dormant": 1}
    assert on(found, 14) == {"goodbyes": 4, "returns": 1}
    assert on(found, 29) == {"goodbyes": 1, "reminders_due": 1}
    assert found["comparison"]["answered"] == 3


def test_an_opt_out_after_the_goodbye_is_an_answer(tmp_path: Path) -> None:
    replied_at = RUN + 14 * DAY + HOUR
    rows = [Row("ana", MIDNIGHT), Row("ana", replied_at, "sair")]
    found = replay(write_log(tmp_path, rows), "--to", "2026-03-31")["comparison"]
    assert (found["goodbyes"], found["answered"], found["wrong_goodbyes"]) == (1, 1, 0)


def test_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT + DAY), Row("ana", MIDNIGHT + 2 * DAY, "parar")]
    in_order = replay(write_log(tmp_path, rows))
    assert replay(write_log(tmp_path, rows[::-1])) == in_order


def test_each_policy_is_played_from_the_beginning(tmp_path: Path) -> None:
    path = write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ana", MIDNIGHT + 10 * DAY)])
    found = replay(path, "--inactivity-days", "5", "14", "--to", "2026-04-30")
    alone = [replay(path, "--inactivity-days", days, "--to", "2026-04-30") for days in ("5", "14")]
    assert found == {"policies": alone}
    assert [policy["comparison"]["goodbyes"] for policy in alone] == [2, 1]
    assert [policy["comparison"]["wrong_goodbyes"] for policy in alone] == [1, 0]


def test_policy_of_the_settings_is_the_default(tmp_path: Path, settings: Any) -> None:
    settings.ENGAGEMENT_INACTIVITY_DAYS = 3
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = 1
    found = replay(write_log(tmp_path, [Row("ana", MIDNIGHT)]), "--to", "2026-03-06")
    assert found["inactivity_days"] == 3
    assert (on(found, 3), on(found, 4)) == ({"goodbyes": 1}, {"goodbye_timeouts": 1})


def test_users_and_events_are_counted_until_the_period_ends(tmp_path: Path) -> None:
    rows = [
        Row("ana", MIDNIGHT - DAY, whatsapp_jid=""),
        Row("ana", MIDNIGHT),
        Row("ben", MIDNIGHT, whatsapp_jid=""),
        Row("ben", MIDNIGHT + DAY),
        Row("cid", MIDNIGHT + DAY),
    ]
    day = MIDNIGHT.date()
    found = replay_activity_log(path=write_log(tmp_path, rows), first_date=day, last_date=day)
    assert (found.users, found.unreachable, found.events, found.history_events) == (2, 1, 3, 1)


def test_stop_request_ends_the_replay(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.ask(15)
    with pytest.raises(ReplayInterrupted):
        replay_activity_log(path=write_log(tmp_path, [Row("ana", MIDNIGHT)]), stop=stop)


def test_progress_counts_the_days_of_all_policies(tmp_path: Path) -> None:
    class Watcher(RunListener):
        due = done = 0

        def due_counted(self, users: int) -> None:
            self.due = users

        def users_done(self, users: int) -> None:
            self.done += users

    watcher = Watcher()
    path = write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ana", MIDNIGHT + DAY)])
    replay_activity_log(path=path, inactivity_days=[3, 5], progress=watcher)
    assert (watcher.due, watcher.done) == (4, 4)


def test_ordinary_text_is_neither_a_reply_nor_a_wish() -> None:
    assert plain_words(ORDINARY_TEXT) not in REPLIES
    assert preference_in(ORDINARY_TEXT) is None
