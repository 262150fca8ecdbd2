"""check_engagement_runs as a monitor and an operator see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from engagement.models import EngagementJobRun
from engagement.selectors.job_runs import good_runs, latest_runs
from engagement.states import CHECKS, Check
from tests.database import execute
from tests.factories import NOW, TICK, EngagementJobRunFactory, make_run, make_user
from tests.running import Outcome, run_command, run_job
from tests.times import DAY, HOUR

pytestmark = pytest.mark.django_db

NAME = "check_engagement_runs: "
CHECK_NAMES = [check.name for check in CHECKS]


def all_but(missing: Check) -> dict[str, dict[str, int]]:
    """The counts of a run that did not make one of the checks."""
    return {name: {"succeeded": 0} for name in CHECK_NAMES if name != missing.name}


def check_runs(*arguments: str, at: Any = NOW + 2 * HOUR) -> Outcome:
    with freeze_time(at):
        return run_command("check_engagement_runs", *arguments)


def test_fresh_run_is_reported_in_one_sentence() -> None:
    run = make_run(succeeded=2185)
    outcome = check_runs()
    assert outcome == (
        f"The last good run is 2 hours old: run {run.job_id} as of 2026-03-02 06:00 UTC, 2,185 moved.\n",
        "",
        0,
    )


def test_no_run_at_all() -> None:
    assert check_runs() == ("", f"{NAME}There is no good run: no run was started.\n", 1)


@pytest.mark.parametrize(
    ("arguments", "age"),
    [
        ([], 26 * HOUR),
        (["--max-age", "90m"], 1.5 * HOUR),
        (["--max-age", "2d"], 2 * DAY),
        (["--max-age", "1s"], HOUR / 3600),
    ],
    ids=str,
)
def test_run_is_fresh_up_to_the_maximum_age(arguments: list[str], age: timedelta) -> None:
    make_run()
    assert check_runs(*arguments, at=NOW + age).code == 0
    assert check_runs(*arguments, at=NOW + age + TICK).code == 1


def test_run_that_is_too_old_is_reported_with_the_later_runs() -> None:
    good = make_run(now=NOW - 2 * DAY, succeeded=12)
    make_run(now=NOW - DAY, status="failed", failure="The database is not available: gone. Run it again.")
    make_run(now=NOW - HOUR, status="running", host="worker-7")
    make_run(now=NOW, status="running", succeeded=3, last_seen_at=NOW + timedelta(seconds=50))
    outcome = check_runs(at=NOW + timedelta(minutes=1))
    assert (outcome.out, outcome.code) == ("", 1)
    assert outcome.err == (
        f"{NAME}The last good run is 2 days, 1 minute old (maximum 1 day, 2 hours):"
        f" run {good.job_id} as of 2026-02-28 06:00 UTC, 12 moved;"
        " since then the run of 2026-03-02 06:00 UTC is still running (3 moved),"
        " the run of 2026-03-02 05:00 UTC vanished (last seen 2026-03-02 05:01 UTC on worker-7),"
        " the run of 2026-03-01 06:00 UTC failed (The database is not available: gone. Run it again).\n"
    )


@pytest.mark.parametrize(
    ("max_age", "age", "text"),
    [
        ("26h", 26.5 * HOUR, "1 day, 2 hours, 30 minutes old (maximum 1 day, 2 hours)"),
        ("1d", DAY + HOUR / 3, "1 day, 20 minutes old (maximum 1 day)"),
        ("90m", 1.52 * HOUR, "1 hour, 31 minutes, 12 seconds old (maximum 1 hour, 30 minutes)"),
        ("90s", HOUR / 36, "1 minute, 40 seconds old (maximum 1 minute, 30 seconds)"),
        ("30s", HOUR / 100, "36 s old (maximum 30 s)"),
    ],
)
def test_age_above_the_maximum_reads_differently_from_the_maximum(
    max_age: str, age: timedelta, text: str
) -> None:
    make_run()
    assert f"The last good run is {text}: " in check_runs("--max-age", max_age, at=NOW + age).err


def test_run_of_a_clock_that_is_ahead_has_age_zero() -> None:
    make_run()
    assert check_runs(at=NOW - HOUR).out.startswith("The last good run is 0 s old: ")


def test_job_that_is_no_longer_started_is_reported() -> None:
    make_run()
    assert check_runs(at=NOW + 3 * DAY).err.endswith("0 moved; since then no run was started.\n")


def test_run_in_which_some_users_failed_is_good_and_reports_them() -> None:
    make_run(status="partial", succeeded=9, failed=1)
    outcome = check_runs()
    assert (outcome.code, outcome.out.endswith("9 moved, 1 failed.\n")) == (0, True)


def test_run_that_moved_nobody_of_those_due_says_so() -> None:
    make_run(still_due=30)
    outcome = check_runs()
    assert outcome.err.endswith(
        "There is no good run: the run of 2026-03-02 06:00 UTC succeeded as of 2026-03-02 06:00 UTC, 0 moved,"
        " 30 still due.\n"
    )


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_run_that_did_not_finish_is_not_good(status: str) -> None:
    make_run(status=status)
    outcome = check_runs(at=NOW + timedelta(minutes=2))
    assert outcome.code == 1
    assert status in outcome.err


def test_run_as_of_last_week_says_nothing_about_today() -> None:
    make_run(now=NOW - 7 * DAY, started_at=NOW)
    assert check_runs().code == 1


def test_run_as_of_next_year_counts_for_the_day_on_which_it_ran() -> None:
    make_run(now=NOW + 365 * DAY, started_at=NOW)
    assert check_runs().code == 0
    assert check_runs(at=NOW + 2 * DAY).code == 1


def test_later_run_as_of_an_earlier_day_does_not_hide_a_fresh_one() -> None:
    make_run()
    make_run(now=NOW - 3 * DAY, started_at=NOW + HOUR)
    assert check_runs().code == 0


@pytest.mark.parametrize("check", CHECKS, ids=CHECK_NAMES)
def test_check_that_runs_no_longer_make_is_reported(check: Check) -> None:
    make_run(now=NOW - 3 * DAY)
    make_run(checks=all_but(check))
    outcome = check_runs()
    assert (outcome.code, f"of {check.name} is 3 days, 2 hours old" in outcome.err) == (1, True)
    assert check_runs("--json").json["check"] == check.name
    assert "succeeded as of 2026-03-02 06:00 UTC, 0 moved" in outcome.err


@pytest.mark.parametrize("check", CHECKS, ids=CHECK_NAMES)
def test_check_that_no_run_has_made_is_reported(check: Check) -> None:
    make_run(checks=all_but(check))
    outcome = check_runs()
    assert (outcome.code, f"There is no good run of {check.name}: " in outcome.err) == (1, True)
    assert check_runs("--json").json["check"] == check.name


def test_each_check_may_have_a_run_of_its_own() -> None:
    for check in CHECKS:
        make_run(checks={check.name: {"succeeded": 0}})
    assert check_runs().code == 0


def test_run_of_the_job_is_found() -> None:
    make_user("silent")
    run_job()
    # The age counts from the run's `now`.
    assert check_runs(at=NOW + HOUR).out.startswith("The last good run is 1 hour old: run ")


def test_dry_run_does_not_count() -> None:
    run_job(dry_run=True)
    assert check_runs().code == 1


def test_json_has_the_last_good_run_and_the_later_ones() -> None:
    make_run(now=NOW - 2 * DAY, succeeded=12)
    vanished = make_run(now=NOW - DAY, status="running")
    outcome = check_runs("--json", at=NOW)
    answer = outcome.json
    assert (outcome.code, answer["ok"]) == (1, False)
    assert (answer["max_age_seconds"], answer["age_seconds"], answer["check"]) == (
        93600,
        172800,
        None,
    )
    assert (answer["last_good_run"]["status"], answer["last_good_run"]["succeeded"]) == ("succeeded", 12)
    assert [(run["job_id"], run["status"]) for run in answer["runs_since"]] == [
        (str(vanished.pk), "vanished")
    ]
    assert "vanished" in outcome.err


def test_json_of_an_empty_ledger() -> None:
    answer = check_runs("--json").json
    assert (answer["ok"], answer["age_seconds"], answer["last_good_run"]) == (False, None, None)


def test_a_run_of_a_clock_that_was_ahead_counts_when_its_time_has_come() -> None:
    """Otherwise it would hide for a month that no run happens."""
    good = make_run()
    ahead = NOW + 30 * DAY
    make_run(now=ahead, started_at=ahead, last_seen_at=ahead, finished_at=ahead)
    assert str(good.job_id) in check_runs().out
    assert check_runs(at=NOW + 3 * DAY).code == 1
    assert check_runs(at=ahead + HOUR).code == 0


def test_missing_ledger_is_reported_in_one_sentence() -> None:
    execute("ALTER TABLE engagement_job_runs RENAME TO elsewhere")
    outcome = check_runs()
    assert outcome.code == 1
    assert "run `manage.py migrate`" in outcome.err


def test_large_ledger_is_read_by_its_indexes() -> None:
    runs = (
        EngagementJobRunFactory.build(now=NOW - n * HOUR, status="partial" if n % 9 else "failed")
        for n in range(3000)
    )
    EngagementJobRun.objects.bulk_create(runs)
    execute("ANALYZE engagement_job_runs")
    assert "using job_run_started_idx" in latest_runs()[:3].explain()
    for check in CHECKS:
        plan = good_runs(check, now=NOW)[:1].explain()
        assert "using job_run_good_idx" in plan
        assert "Sort" not in plan
