"""What a replay makes of a few users, told by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.replay.replay_player import ORDINARY_TEXT
from engagement.replies import REPLIES, plain_words, preference_in
from tests.integration.replay.logs import DAY, HOUR, MIDNIGHT, TICK, Row, replay, write_log

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

JOB: Final = MIDNIGHT + 6 * HOUR
"""The first day's."""


def on(told: Any, day: int) -> dict[str, int]:
    """What happened on a day of a replay, without zeros; the first is 0."""
    counts = {key: value for key, value in told["days"][day].items() if key not in {"date", "states"}}
    return {key: value for key, value in counts.items() if value}


def states_on(told: Any, day: int) -> dict[str, int]:
    return {state: count for state, count in told["days"][day]["states"].items() if count}


def test_silent_user_is_told_goodbye_and_becomes_dormant(tmp_path: Path) -> None:
    told = replay(write_log(tmp_path, [Row("ana", JOB - TICK)]), "--to", "2026-03-31")
    assert [told["days"][0]["date"], told["days"][-1]["date"]] == ["2026-03-02", "2026-03-31"]
    assert {day: on(told, day) for day in range(30) if on(told, day)} == {
        14: {"goodbyes": 1},
        17: {"goodbye_timeouts": 1},
    }
    assert [states_on(told, day) for day in (13, 14, 16, 17)] == [
        {"active": 1},
        {"goodbye_sent": 1},
        {"goodbye_sent": 1},
        {"dormant": 1},
    ]
    assert told["totals"] == {"goodbyes": 1, "goodbye_timeouts": 1, "reminders_due": 0, "returns": 0}


@pytest.mark.parametrize(
    ("offset", "day"),
    [(-TICK, 14), (0 * TICK, 15)],
    ids=["just before the job", "at the very time of the job"],
)
def test_what_comes_at_the_very_time_of_the_job_comes_after_it(tmp_path: Path, offset: Any, day: int) -> None:
    """Silent for 14 days and a microsecond, or for exactly 14 days: that is not yet more than 14."""
    told = replay(write_log(tmp_path, [Row("ana", JOB + offset)]), "--to", "2026-03-20")
    assert [number for number in range(19) if on(told, number)] == [day, day + 3]


def test_user_appears_with_their_first_message(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT + DAY), Row("cid", MIDNIGHT + 2 * DAY - TICK)]
    told = replay(write_log(tmp_path, rows), "--to", "2026-03-03")
    assert [states_on(told, day) for day in (0, 1)] == [{"active": 1}, {"active": 3}]


def test_day_without_events_has_its_job_all_the_same(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ana", MIDNIGHT + 16 * DAY + 12 * HOUR)]
    told = replay(write_log(tmp_path, rows))
    assert len(told["days"]) == 17
    assert (on(told, 14), on(told, 16)) == ({"goodbyes": 1}, {"returns": 1})
    assert states_on(told, 16) == {"active": 1}


def test_what_came_before_the_first_day_counts_as_activity_and_as_wishes(tmp_path: Path) -> None:
    rows = [
        Row("long silent", MIDNIGHT - 60 * DAY),
        Row("opted out", MIDNIGHT - 60 * DAY, "parar"),
        Row("thought better of it", MIDNIGHT - 60 * DAY, "parar"),
        Row("thought better of it", MIDNIGHT - 59 * DAY, "voltar"),
        Row("just here", MIDNIGHT - TICK),
        Row("new", MIDNIGHT + 12 * HOUR),
    ]
    told = replay(write_log(tmp_path, rows), "--from", "2026-03-02")
    assert len(told["days"]) == 1
    assert on(told, 0) == {"goodbyes": 2}
    assert states_on(told, 0) == {"active": 3, "goodbye_sent": 2}


def test_what_comes_after_the_last_day_only_tells_who_came_back(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT), Row("ana", MIDNIGHT + 15 * DAY)]
    told = replay(write_log(tmp_path, rows), "--to", "2026-03-16")
    assert states_on(told, 14) == {"goodbye_sent": 2}
    assert told["comparison"] == {
        "goodbyes": 2,
        "wrong_goodbyes": 1,
        "came_back_later": 0,
        "answered": 0,
        "never_came_back": 1,
    }


def test_profile_follows_the_log_but_a_row_that_says_nothing_new_undoes_no_wish(tmp_path: Path) -> None:
    rows = [
        Row("opts out by text", MIDNIGHT, "parar"),
        Row("opts out by text", MIDNIGHT + HOUR, locale="pt-BR"),
        Row("opts out elsewhere", MIDNIGHT),
        Row("opts out elsewhere", MIDNIGHT + HOUR, reengagement_opt_out="true"),
        Row("opts in elsewhere", MIDNIGHT, reengagement_opt_out="true"),
        Row("opts in elsewhere", MIDNIGHT + HOUR),
        Row("gets an address", MIDNIGHT, whatsapp_jid=""),
        Row("gets an address", MIDNIGHT + HOUR),
        Row("loses the address", MIDNIGHT),
        Row("loses the address", MIDNIGHT + HOUR, whatsapp_jid=""),
    ]
    told = replay(write_log(tmp_path, rows), "--to", "2026-03-16")
    assert on(told, 14) == {"goodbyes": 2}


def test_replies_move_users_as_the_assistant_would(tmp_path: Path) -> None:
    replied_at = JOB + 14 * DAY + HOUR
    rows = [Row(text, MIDNIGHT) for text in ("1", "2", "3", "hello")]
    rows += [Row(text, replied_at, text) for text in ("1", "2", "3", "hello")]
    told = replay(write_log(tmp_path, rows), "--to", "2026-03-31")
    assert states_on(told, 14) == {"active": 1, "help_flow": 1, "remind_later": 1, "dormant": 1}
    assert on(told, 14) == {"goodbyes": 4, "returns": 1}
    assert on(told, 29) == {"goodbyes": 1, "reminders_due": 1}
    assert told["comparison"]["answered"] == 3


def test_same_message_twice_is_one_return(tmp_path: Path) -> None:
    back_at = MIDNIGHT + 15 * DAY
    rows = [Row("ana", MIDNIGHT), Row("ana", back_at, "oi"), Row("ana", back_at, "oi")]
    assert replay(write_log(tmp_path, rows))["totals"]["returns"] == 1


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT + DAY), Row("ana", MIDNIGHT + 2 * DAY, "parar")]
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    back.mkdir()
    assert replay(write_log(there, rows)) == replay(write_log(back, rows[::-1]))


def test_several_policies_are_played_from_the_beginning_each(tmp_path: Path) -> None:
    path = write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ana", MIDNIGHT + 10 * DAY)])
    told = replay(path, "--inactivity-days", "5", "14", "--to", "2026-04-30")
    alone = [replay(path, "--inactivity-days", days, "--to", "2026-04-30") for days in ("5", "14")]
    assert told == {"policies": alone}
    assert [policy["comparison"]["goodbyes"] for policy in alone] == [2, 1]
    assert [policy["comparison"]["wrong_goodbyes"] for policy in alone] == [1, 0]


def test_policy_of_the_settings_is_played_unless_told(tmp_path: Path, settings: Any) -> None:
    settings.ENGAGEMENT_INACTIVITY_DAYS = 3
    settings.ENGAGEMENT_GOODBYE_WAIT_HOURS = 1
    told = replay(write_log(tmp_path, [Row("ana", MIDNIGHT)]), "--to", "2026-03-06")
    assert told["inactivity_days"] == 3
    assert (on(told, 3), on(told, 4)) == ({"goodbyes": 1}, {"goodbye_timeouts": 1})


def test_ordinary_text_says_nothing_to_the_engine() -> None:
    assert plain_words(ORDINARY_TEXT) not in REPLIES
    assert preference_in(ORDINARY_TEXT) is None
