"""The brake: a run with too many goodbyes stops before it moves anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from engagement.models import EngagementJobRun, EngagementMessage, UserEngagementState
from engagement.selectors import due_users
from engagement.states import CHECKS, State
from tests.database import execute
from tests.factories import NOW, make_run, make_user, make_users
from tests.running import Outcome, run_command, run_job
from tests.times import DAY

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

INACTIVITY, TIMEOUT, REMINDER = CHECKS


def run_daily(*arguments: str) -> Outcome:
    with freeze_time(NOW):
        return run_command("run_engagement_daily", *arguments)


@pytest.fixture
def at_most_three(settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = "3"


@pytest.mark.usefixtures("at_most_three")
class TestCount:
    """ENGAGEMENT_MAX_GOODBYES_PER_RUN."""

    def test_run_that_would_pass_it_moves_nobody_not_even_silently(self) -> None:
        make_users(4, "silent")
        make_user("goodbye_sent")
        make_user("remind_later")
        before = list(UserEngagementState.objects.order_by("pk").values())
        outcome = run_daily("--json")
        assert (outcome.code, outcome.json["status"], outcome.json["processed"]) == (4, "failed", 0)
        assert outcome.err == (
            "run_engagement_daily: The run would send a goodbye to 4 users,"
            " and ENGAGEMENT_MAX_GOODBYES_PER_RUN allows 3. Nobody was moved:"
            " --allow-large-run lets it through, --limit spreads it over several runs.\n"
        )
        assert list(UserEngagementState.objects.order_by("pk").values()) == before
        assert not EngagementMessage.objects.exists()

    def test_as_many_as_it_allows_are_told_goodbye(self) -> None:
        make_users(3, "silent")
        assert run_daily("--json").json["succeeded"] == 3

    def test_only_goodbyes_count(self) -> None:
        make_users(3, "silent")
        make_users(5, "goodbye_sent")
        make_users(2, "silent", user__reengagement_opt_out=True)
        make_user("silent", user__whatsapp_jid=None)
        assert run_daily("--json").json["succeeded"] == 8

    def test_check_that_says_no_goodbye_is_not_stopped(self) -> None:
        make_users(4, "silent")
        make_user("goodbye_sent")
        assert run_job(checks=[TIMEOUT, REMINDER]).succeeded == 1

    def test_run_limited_to_fewer_passes(self) -> None:
        make_users(9, "silent")
        assert run_job(limit=3).succeeded == 3
        assert run_job(limit=4).too_large

    def test_allow_large_run_lets_it_through(self) -> None:
        make_users(4, "silent")
        outcome = run_daily("--json", "--allow-large-run")
        assert (outcome.code, outcome.json["succeeded"], outcome.err) == (0, 4, "")

    def test_dry_run_has_the_same_numbers_and_says_that_a_run_would_stop(self) -> None:
        make_users(4, "silent")
        outcome = run_daily("--json", "--dry-run")
        assert (outcome.code, outcome.json["status"], outcome.json["succeeded"]) == (0, "succeeded", 4)
        assert "would send a goodbye to 4 users" in outcome.err
        assert "would send a goodbye" not in run_daily("--json", "--dry-run", "--allow-large-run").err

    def test_workers_are_not_even_started(self) -> None:
        make_users(4, "silent")
        assert run_job(workers=2).too_large
        assert not UserEngagementState.objects.exclude(state=State.ACTIVE).exists()

    def test_ledger_has_the_run_and_why_it_stopped(self) -> None:
        make_users(4, "silent")
        run = run_job()
        row = EngagementJobRun.objects.get()
        assert (row.status, row.failure, row.processed) == ("failed", run.failure, 0)
        assert "4 users" in str(row.failure)

    def test_usual_is_the_median_of_good_runs_that_asked_for_goodbyes(self) -> None:
        for day, succeeded in enumerate((900, 2, 7, 5)):
            make_run(now=NOW - (day + 1) * DAY, succeeded=succeeded)
        make_run(status="failed", succeeded=100_000)
        make_run(checks={"reminder_due": {"succeeded": 100_000}})
        make_users(4, "silent")
        assert "allows 3; usual is 5." in str(run_job().failure)

    def test_usual_is_told_from_the_last_runs_alone(self) -> None:
        for day in range(90):
            make_run(now=NOW - day * DAY, succeeded=20 if day < 30 else 40)
        make_users(4, "silent")
        assert "usual is 20." in str(run_job().failure)

    def test_run_is_stopped_also_without_a_ledger(self) -> None:
        make_users(4, "silent")
        execute("SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE engagement_job_runs RENAME TO elsewhere")
        assert run_daily("--json").code == 4


def test_run_that_cannot_be_measured_moves_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = 1
    monkeypatch.setattr(due_users, "count_active", lambda: execute("SELECT 1 / 0"))
    make_users(2, "silent")
    assert (run_daily("--json").code, EngagementMessage.objects.count()) == (1, 0)


@pytest.mark.parametrize(
    ("silent", "share", "is_stopped"),
    [(1, "0.05", False), (5, "0.05", False), (6, "0.05", True), (29, "0.29", False), (30, "0.29", True)],
)
def test_share_is_of_the_active_users(
    settings: Settings, silent: int, share: str, *, is_stopped: bool
) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = share
    make_users(silent, "silent")
    make_users(100 - silent)
    make_users(50, "dormant")
    assert (run_job().too_large is not None) == is_stopped


def test_run_that_says_no_goodbye_passes_where_nobody_is_active(settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = 0.05
    make_user("goodbye_sent")
    assert run_job(checks=[TIMEOUT]).succeeded == 1


def test_share_that_is_passed_is_told_in_numbers_and_per_cent(settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = 0.005
    make_users(3, "silent")
    make_users(5)
    failure = str(run_job().failure)
    assert "goodbye to 3 of 8 active users (37.5%), and ENGAGEMENT_MAX_GOODBYE_SHARE allows 0.5%." in failure


def test_share_of_the_only_active_user_is_all_of_them(settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = 0.5
    make_user("silent")
    assert "goodbye to 1 of 1 active users (100%), and" in str(run_job().failure)


def test_either_limit_stops_the_run(settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 100
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = 0.5
    make_users(3, "silent")
    assert "ENGAGEMENT_MAX_GOODBYE_SHARE" in str(run_job().failure)
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 2
    assert "ENGAGEMENT_MAX_GOODBYES_PER_RUN" in str(run_job().failure)


def count_statements(*, allow_large_run: bool = False) -> int:
    make_users(5, "silent")
    with CaptureQueriesContext(connection) as queries:
        assert run_job(allow_large_run=allow_large_run).succeeded == 5
    return len(queries)


def test_nothing_is_counted_when_the_brake_is_off_or_let_go(settings: Settings) -> None:
    off = count_statements()
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 4
    assert count_statements(allow_large_run=True) == off
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 5
    assert count_statements() > off


@pytest.mark.usefixtures("at_most_three")
def test_limit_spreads_a_first_run_over_days_longest_silent_first() -> None:
    users = [make_user(last_activity_at=NOW - (100 - number) * DAY) for number in range(7)]
    told: list[object] = []
    for day in range(3):
        run_job(now=NOW + day * DAY, limit=3, checks=[INACTIVITY])
        queued = EngagementMessage.objects.filter(scheduled_for=NOW + day * DAY)
        told.append(set(queued.values_list("user_id", flat=True)))
    in_order = [user.user_id for user in users]
    assert told == [set(in_order[:3]), set(in_order[3:6]), set(in_order[6:])]
