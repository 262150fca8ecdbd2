"""The replay finds what a small reference finds, day by day and state by state."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engagement.replay import replay as replay_service
from tests.integration.replay.logs import DAY, HOUR, MIDNIGHT, TICK, Row, replay, write_log
from tests.reference import replay as reference
from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

SAMPLE: Final = PROJECT / "data" / "cdnow_activity.csv.gz"


class Size(NamedTuple):
    """How much is replayed."""

    first: date
    last: date
    examples: int


SIZES: Final = {
    "quick": Size(date(1997, 1, 1), date(1997, 1, 24), examples=3),
    "middle": Size(date(1997, 1, 1), date(1998, 6, 30), examples=20),
    "full": Size(date(1997, 1, 1), date(1998, 6, 30), examples=200),
}


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.config.getoption("--faults")]


def expected(path: Path, *, days: int, first: date, last: date) -> Any:
    return reference.replay(reference.read_rows(path), days=days, first=first, last=last)


def test_sample_agrees_from_the_first_day_to_the_last(size: Size) -> None:
    found = replay(SAMPLE, "--to", size.last.isoformat())
    assert found == expected(SAMPLE, days=14, first=size.first, last=size.last)
    assert found["totals"]["goodbyes"] > 0


def test_sample_agrees_in_the_middle_with_what_came_before_as_history() -> None:
    first, last = date(1997, 1, 12), date(1997, 1, 17)
    found = replay(SAMPLE, "--from", str(first), "--to", str(last), "--inactivity-days", "3", "7")
    assert found == {"policies": [expected(SAMPLE, days=days, first=first, last=last) for days in (3, 7)]}


INSTANTS: Final = st.builds(
    lambda day, moment: MIDNIGHT + day * DAY + moment,
    day=st.integers(0, 45),
    moment=st.sampled_from([0 * HOUR, 6 * HOUR - TICK, 6 * HOUR, 6 * HOUR + TICK, 12 * HOUR, DAY - TICK]),
)
ROWS: Final = st.lists(
    st.builds(
        Row,
        user=st.sampled_from([f"user {number}" for number in range(8)]),
        occurred_at=INSTANTS,
        text=st.sampled_from(reference.TEXTS),
        reengagement_opt_out=st.sampled_from(["false"] * 5 + ["true"]),
        whatsapp_jid=st.sampled_from(["99900000001@s.whatsapp.net"] * 5 + [""]),
        # Left out, Hypothesis would make up any text: sometimes one with a NUL in it, which no log may have.
        locale=st.sampled_from(["en", "pt-BR"]),
    ),
    min_size=1,
    max_size=60,
)


def test_random_logs_with_texts_agree(size: Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several processes, although there are few users.
    monkeypatch.setattr(replay_service, "share_count", lambda _users: 2)

    @settings(
        max_examples=size.examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(rows=ROWS, days=st.integers(1, 20))
    def agrees(rows: list[Row], days: int) -> None:
        path = write_log(tmp_path, rows)
        instants = sorted(row.occurred_at for row in rows)
        first, last = instants[0].date(), instants[-1].date()
        found = replay(path, "--inactivity-days", str(days))
        assert found == expected(path, days=days, first=first, last=last)

    agrees()


def test_log_with_every_kind_of_reply_agrees(tmp_path: Path) -> None:
    """Everybody falls silent, is told goodbye, and says one of the texts at some moment after it."""
    told_at = datetime(2026, 3, 17, 6, tzinfo=UTC)
    moments = [timedelta(0), 48 * HOUR, 3 * DAY, 7 * DAY, 7 * DAY + TICK, 20 * DAY]
    rows = []
    for number, text in enumerate(reference.TEXTS):
        for place, moment in enumerate(moments):
            user = f"{number} {place}"
            rows += [Row(user, MIDNIGHT + 12 * HOUR), Row(user, told_at + moment, text)]
            rows += [Row(user, told_at + moment + 3 * HOUR, "3")] if place % 2 else []
    path = write_log(tmp_path, rows)
    last = date(2026, 4, 30)
    found = replay(path, "--to", str(last))
    assert found == expected(path, days=14, first=MIDNIGHT.date(), last=last)
    assert all(found["totals"].values())
    assert all(found["comparison"].values())
