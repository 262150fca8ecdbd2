"""The parts of a replay that need no database: reading, cutting into days, comparing, dividing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from engagement.replay import replay_shares
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.replay_log import (
    LONGEST_UNASKED,
    NothingToReplay,
    Period,
    ReplayLog,
    period_of,
    read_replay_log,
)
from engagement.replay.replay_result import SOON, Comparison, Spoken, compare
from tests.integration.replay.logs import DAY, HOUR, MIDNIGHT, TICK, Row, write_log

if TYPE_CHECKING:
    from pathlib import Path

ANA: Final = UUID(int=1)
BEN: Final = UUID(int=2)
JOB: Final = MIDNIGHT + 6 * HOUR


@pytest.fixture
def log(tmp_path: Path) -> ReplayLog:
    """Ana at the edges of two days, Ben in the second."""
    moments = (0 * DAY, 6 * HOUR - TICK, 6 * HOUR, DAY - TICK, DAY)
    rows = [Row("ana", MIDNIGHT + moment, str(place)) for place, moment in enumerate(moments)]
    return read_replay_log(write_log(tmp_path, [*rows, Row("ben", MIDNIGHT + DAY, "ben")]))


def texts(messages: Any) -> list[str]:
    return [message.event.text for message in messages]


def test_day_is_cut_at_the_time_of_the_job(log: ReplayLog) -> None:
    first, second = log.days(log.whole_period)
    assert (first.date, first.job_at) == (date(2026, 3, 2), JOB)
    assert (texts(first.before_job), texts(first.after_job)) == (["0", "1"], ["2", "3"])
    assert (texts(second.before_job), texts(second.after_job)) == (["4", "ben"], [])


def test_everybody_who_appears_before_the_period_ends_has_a_first_message(log: ReplayLog) -> None:
    first_day = Period(MIDNIGHT.date(), MIDNIGHT.date())
    assert texts(log.first_messages(first_day)) == ["0"]
    assert texts(log.first_messages(log.whole_period)) == ["0", "ben"]


def test_history_ends_where_the_period_begins(log: ReplayLog) -> None:
    period = period_of(log, first_date=date(2026, 3, 3), last_date=None)
    assert period == Period(date(2026, 3, 3), date(2026, 3, 3))
    assert texts(log.history(period)) == ["0", "1", "2", "3"]


def test_one_address_before_the_period_ends_makes_a_user_reachable(tmp_path: Path) -> None:
    rows = [
        Row("ana", MIDNIGHT, whatsapp_jid=""),
        Row("ana", MIDNIGHT + HOUR),
        Row("ben", MIDNIGHT, whatsapp_jid=""),
        Row("ben", MIDNIGHT + DAY),
    ]
    log = read_replay_log(write_log(tmp_path, rows))
    day = MIDNIGHT.date()
    assert log.count_reachable(Period(day, day)) == 1
    assert log.count_reachable(Period(day, day + DAY)) == 2


def test_shares_are_whole_users_and_add_up(log: ReplayLog) -> None:
    shares = [log.share(number, of=3) for number in range(3)]
    assert sorted(texts(share.messages) for share in shares if share.messages) in (
        [["0", "1", "2", "3", "4"], ["ben"]],
        [["0", "1", "2", "3", "4", "ben"]],
    )


def test_message_knows_what_its_user_did_before(log: ReplayLog) -> None:
    before = [message.event_before.text if message.event_before else None for message in log.messages]
    assert before == [None, "0", "1", "2", "3", None]


def test_text_is_kept_out_of_representations(log: ReplayLog) -> None:
    assert "'ben'" not in repr(log.messages[-1].event).replace("user='ben'", "")


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(2026, 3, 4), None), (None, date(2026, 3, 1)), (date(2026, 3, 4), date(2026, 3, 5))],
)
def test_days_on_which_nothing_happened_are_refused(
    log: ReplayLog, first: date | None, last: date | None
) -> None:
    with pytest.raises(NothingToReplay, match="goes from 2026-03-02 to 2026-03-03, and nothing happened"):
        period_of(log, first_date=first, last_date=last)


@pytest.mark.parametrize("wrong", [datetime(1026, 3, 2, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)])
def test_one_wrong_year_is_not_played_unasked(tmp_path: Path, wrong: datetime) -> None:
    log = read_replay_log(write_log(tmp_path, [Row("ana", wrong), Row("ana", MIDNIGHT)]))
    with pytest.raises(NothingToReplay, match="choose days with --from and --to"):
        period_of(log, first_date=None, last_date=None)
    today = date(2026, 3, 2)
    assert period_of(log, first_date=today, last_date=today).days == 1


def test_log_of_a_wrong_year_alone_is_not_played_unasked(tmp_path: Path) -> None:
    log = read_replay_log(write_log(tmp_path, [Row("ana", datetime(1026, 3, 2, tzinfo=UTC))]))
    with pytest.raises(NothingToReplay, match="choose days with --from and --to"):
        period_of(log, first_date=None, last_date=None)


def test_longer_period_is_played_only_if_both_its_ends_were_asked_for(log: ReplayLog) -> None:
    first, last = MIDNIGHT.date() - LONGEST_UNASKED * DAY, MIDNIGHT.date() + LONGEST_UNASKED * DAY
    assert period_of(log, first_date=first, last_date=last) == Period(first, last)
    for one_end in ({"first_date": first, "last_date": None}, {"first_date": None, "last_date": last}):
        with pytest.raises(NothingToReplay, match="choose days with --from and --to"):
            period_of(log, **one_end)


def test_log_without_events_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path, [])
    with pytest.raises(MalformedActivityLog) as error:
        read_replay_log(path)
    assert str(error.value) == f"{path}: there are no events below the header; nothing can be replayed."


def test_columns_that_mean_nothing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,occurred_at,shoe_size\nana,2026-03-02T00:00:00Z,38\n", encoding="utf-8")
    assert read_replay_log(path).ignored_columns == ("shoe_size",)


def test_longest_period_that_is_played_unasked(tmp_path: Path) -> None:
    rows = [Row("ana", MIDNIGHT), Row("ana", MIDNIGHT + (LONGEST_UNASKED - 1) * DAY)]
    log = read_replay_log(write_log(tmp_path, rows))
    assert period_of(log, first_date=None, last_date=None).days == LONGEST_UNASKED


@pytest.mark.parametrize(
    ("seen_at", "expected"),
    [
        ([], "never_came_back"),
        ([JOB - TICK], "never_came_back"),
        ([JOB], "wrong_goodbyes"),
        ([JOB + SOON], "wrong_goodbyes"),
        ([JOB + SOON + TICK], "came_back_later"),
        ([JOB - TICK, JOB + SOON + TICK, JOB + 2 * SOON], "came_back_later"),
    ],
)
def test_goodbye_is_judged_by_the_next_sign_of_life(seen_at: list[datetime], expected: str) -> None:
    found = compare(goodbyes=[Spoken(ANA, JOB)], answers=set(), seen_at={ANA: seen_at})
    assert found == Comparison(goodbyes=1, **{expected: 1})


def test_every_goodbye_is_judged() -> None:
    seen_at = {ANA: [JOB + HOUR, JOB + 9 * DAY, JOB + 30 * DAY], BEN: []}
    goodbyes = [Spoken(BEN, JOB), *(Spoken(ANA, JOB + days * DAY) for days in (0, 3, 10, 11))]
    found = compare(goodbyes=goodbyes, answers=set(), seen_at=seen_at)
    assert found == Comparison(goodbyes=5, wrong_goodbyes=2, came_back_later=2, never_came_back=1)


def test_answer_is_no_return_of_ones_own(log: ReplayLog) -> None:
    answered = Spoken(ANA, JOB + HOUR)
    found = compare(
        goodbyes=[Spoken(ANA, JOB), Spoken(BEN, JOB)],
        answers={answered},
        seen_at={ANA: [JOB + HOUR], BEN: [JOB + HOUR]},
    )
    assert found == Comparison(goodbyes=2, answered=1, wrong_goodbyes=1)


@pytest.mark.parametrize(
    ("users", "cores", "shares"),
    [(1, 8, 1), (999, 8, 1), (1_000, 8, 2), (1_000_000, 8, 4), (1_000_000, 2, 2)],
)
def test_shares_are_as_many_as_are_worth_their_databases(
    monkeypatch: pytest.MonkeyPatch, users: int, cores: int, shares: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    assert replay_shares.share_count(users) == shares


@pytest.mark.parametrize(("cores", "shares"), [(3, 3), (1, 1), (None, 1)])
def test_machine_that_knows_of_no_affinity_is_asked_for_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, shares: int
) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert replay_shares.share_count(1_000_000) == shares
