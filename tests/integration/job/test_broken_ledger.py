"""Whatever is wrong with the ledger, users are moved, and the log says so once."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.models import EngagementJobRun
from engagement.services.job import ledger
from tests.database import (
    another_connection,
    closed_gate,
    execute,
    wait_at_gate,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_users
from tests.integration.job.outcomes import assert_all_moved_once
from tests.logged import logged_events
from tests.running import run_job, start_process

if TYPE_CHECKING:
    from collections.abc import Iterator

RAISE: Final = """
    CREATE FUNCTION at_ledger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
    CREATE TRIGGER at_ledger BEFORE INSERT OR UPDATE ON engagement_job_runs
    FOR EACH ROW EXECUTE FUNCTION at_ledger();
"""

BROKEN: Final = {
    "no table": "ALTER TABLE engagement_job_runs RENAME TO elsewhere",
    "no column": "ALTER TABLE engagement_job_runs DROP COLUMN checks",
    "another type": "ALTER TABLE engagement_job_runs ALTER pid TYPE date USING NULL",
    "a constraint": "ALTER TABLE engagement_job_runs ADD CONSTRAINT never CHECK (false)",
    "no privilege": """
        CREATE ROLE without_ledger;
        GRANT ALL ON user_profiles, user_engagement_states, engagement_state_transitions,
            engagement_message_queue TO without_ledger;
        SET ROLE without_ledger
    """,
    "an error of a trigger": RAISE.format(body="RAISE EXCEPTION 'no';"),
    "an error at the start alone": RAISE.format(body="IF NEW.status = 'running' THEN RAISE 'no'; END IF;"),
    "a query that is cancelled": RAISE.format(body="RAISE EXCEPTION 'late' USING ERRCODE = '57014';"),
}


def complaints(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return logged_events(caplog, name="engagement_ledger_not_written")


@pytest.fixture
def mended(committed: None) -> Iterator[None]:
    yield
    execute("DROP FUNCTION IF EXISTS at_ledger() CASCADE; DROP SEQUENCE IF EXISTS ledger_faults")


@pytest.mark.django_db
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_users_are_moved_and_the_log_says_so_once(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    make_users(4, "silent")
    make_users(2, "goodbye_sent")
    execute(f"SET CONSTRAINTS ALL IMMEDIATE; {broken}")
    result = run_job(batch_size=2)
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 6, 0)
    assert len(complaints(caplog)) == 1


def test_full_disk_of_the_ledger_costs_no_user(mended: None, caplog: pytest.LogCaptureFixture) -> None:
    make_users(4, "silent")
    execute(RAISE.format(body="RAISE EXCEPTION 'full' USING ERRCODE = '53100';"))
    result = run_job(batch_size=2)
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 4, 0)
    assert [complaint["error"] for complaint in complaints(caplog)] == ["full (SQLSTATE 53100)"]


def test_locked_ledger_costs_the_run_a_few_seconds(
    mended: None, caplog: pytest.LogCaptureFixture, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    monkeypatch.setattr(ledger, "REFRESH_SECONDS", 0)
    make_users(40, "silent")
    with another_connection(autocommit=False) as other:
        other.execute("LOCK TABLE engagement_job_runs IN ACCESS EXCLUSIVE MODE")
        started_at = monotonic()
        result = run_job(batch_size=2)
        # At the start and at the end, not after each batch.
        assert monotonic() - started_at < 6
        other.rollback()
    assert (result.status, result.succeeded) == ("succeeded", 40)
    assert len(complaints(caplog)) == 1
    assert_all_moved_once(40)
    assert not EngagementJobRun.objects.exists()


@pytest.mark.parametrize("times", [1, 2, 100])
def test_session_that_ends_in_the_ledger_costs_no_user(mended: None, times: int) -> None:
    make_users(4, "silent")
    execute("CREATE SEQUENCE ledger_faults")
    end_session = "PERFORM pg_terminate_backend(pg_backend_pid());"
    execute(RAISE.format(body=f"IF nextval('ledger_faults') <= {times} THEN {end_session} END IF;"))
    result = run_job(batch_size=2)
    assert (result.status, result.succeeded, result.failed) == ("succeeded", 4, 0)
    assert_all_moved_once(4)
    rows = EngagementJobRun.objects.filter(status="succeeded", succeeded=4).count()
    assert rows == (1 if times < 100 else 0)


def test_session_that_ends_in_the_last_write_costs_no_more_than_a_second_one(mended: None) -> None:
    make_users(4, "silent")
    execute("CREATE SEQUENCE ledger_faults")
    execute(
        RAISE.format(
            body="IF NEW.status <> 'running' AND nextval('ledger_faults') = 1 THEN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
        )
    )
    assert run_job().status == "succeeded"
    assert EngagementJobRun.objects.get().status == "succeeded"


def test_ledger_is_right_at_the_end_of_a_run_that_it_missed_the_start_of(committed: None) -> None:
    make_users(4, "silent")
    wait_at_gate()
    with closed_gate() as gate:
        with another_connection(autocommit=False) as other:
            other.execute("LOCK TABLE engagement_job_runs IN ACCESS EXCLUSIVE MODE")
            process = start_process("run_engagement_daily", "--json", "--now", NOW.isoformat())
            wait_for_somebody_at_the_gate(gate)
            other.rollback()
        at_the_gate_at = gate.execute("SELECT now()").fetchone()
    _, err = process.communicate(timeout=60)
    assert err.count("engagement_ledger_not_written") == 1
    row = EngagementJobRun.objects.get()
    assert (row.status, row.succeeded) == ("succeeded", 4)
    assert at_the_gate_at
    assert row.started_at < at_the_gate_at[0]
