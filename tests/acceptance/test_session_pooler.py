"""Behind a pooler that gives each client a session for as long as it stays."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.pooler import PROGRAM, pooler_in
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import end_of, run_of, start_run
from tests.acceptance.seeding import seed
from tests.acceptance.web import SETTINGS
from tests.running import database_url, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.acceptance.conftest import Size

LOSE_AN_IDLE_SESSION: Final = """
import os, psycopg
from engagement.conf import engagement_settings
from engagement.models import UserProfile
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
policy = RetryPolicy.of(engagement_settings(), stop=StopRequest())
policy.read(UserProfile.objects.count)
with psycopg.connect(os.environ["DIRECT_URL"]) as other:
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'pooled' AND pid <> pg_backend_pid()"
    )
print(policy.read(UserProfile.objects.count))
"""

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed (on Debian: apt install pgbouncer)"
)


@pytest.fixture
def pooler(onlooker: psycopg.Connection) -> Iterator[str]:
    with pooler_in("session", query_wait_timeout="1") as url:
        yield url


def test_a_single_session_is_enough_for_a_run(onlooker: psycopg.Connection, size: Size) -> None:
    """The pooler would let the workers wait for two minutes: the run holds the session itself."""
    seed(onlooker, due=size.due)
    before = take_snapshot(onlooker)
    with pooler_in("session", default_pool_size="1") as pooler:
        began = monotonic()
        run = start_run("--workers", "4", DATABASE_URL=pooler, ENGAGEMENT_RECONNECT_LIMIT_SECONDS="1")
        outcome = end_of(run)
    assert outcome.code == 0, outcome
    assert monotonic() - began < 60
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_workers_without_a_session_of_the_pool_cost_nothing(
    onlooker: psycopg.Connection, pooler: str, size: Size
) -> None:
    seed(onlooker, due=size.due)
    before = take_snapshot(onlooker)
    few_a_batch = ("--workers", "4", "--batch-size", str(size.due // 300))
    outcome = end_of(start_run(*few_a_batch, DATABASE_URL=pooler, ENGAGEMENT_RECONNECT_LIMIT_SECONDS="1"))
    assert outcome.code == 0, outcome
    assert_invariants(before, take_snapshot(onlooker), [run_of(outcome)])


def test_idle_session_that_ends_is_replaced(onlooker: psycopg.Connection, pooler: str) -> None:
    seed(onlooker, due=3)
    outcome = run_process(
        *("shell", "-v0", "-c", LOSE_AN_IDLE_SESSION),
        # With DEBUG psycopg meets another error.
        **(SETTINGS | {"DATABASE_URL": pooler, "DIRECT_URL": database_url(), "PGAPPNAME": "pooled"}),
    )
    assert (outcome.code, outcome.out.strip().isdecimal()) == (0, True), outcome
