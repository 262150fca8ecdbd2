"""How a run goes through its users: pages, limits, statements, and the search for a bad user."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState
from engagement.states import CHECKS, State
from tests.database import execute, fail_moves_of, heal
from tests.factories import NOW, make_user, make_users
from tests.running import run_job
from tests.times import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db

LEDGER = 2 * 4
"""Statements of the ledger at the start and at the end, in a transaction each. A check that moves has 4."""
EXPIRED_CLAIMS = 2
"""The clock of the database, and the claims of senders that have expired by it."""
STILL_DUE = 3 + 3
"""Statements that count the users who are still due: one per check, in one transaction."""
INACTIVITY, TIMEOUT, REMINDER = CHECKS


def statements_of(run: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        run()
    return [query["sql"] for query in queries]


def count_moved() -> int:
    return UserEngagementState.objects.exclude(state=State.ACTIVE).count()


@pytest.mark.parametrize("trait", ["silent", "goodbye_sent", "remind_later"])
def test_batch_costs_the_same_number_of_statements_at_10_and_at_1000_users(trait: str) -> None:
    make_users(10, trait)
    few = statements_of(run_job)
    make_users(1000, trait)
    many = statements_of(lambda: run_job(batch_size=2000))
    assert len(many) == len(few) <= LEDGER + 4 + EXPIRED_CLAIMS + 3 * 4 + 4 + 4 + STILL_DUE
    assert EngagementStateTransition.objects.count() == 1010


def test_nobody_due_costs_few_statements() -> None:
    make_users(10)
    # For each check and for the skip count: BEGIN and COMMIT, the limits, the question itself.
    assert len(statements_of(run_job)) == LEDGER + EXPIRED_CLAIMS + 3 * 4 + 4 + STILL_DUE


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8])
def test_every_due_user_is_moved_whatever_the_batch_size(batch_size: int) -> None:
    make_users(7, "silent")
    assert run_job(batch_size=batch_size).succeeded == 7
    assert count_moved() == 7


def test_users_with_the_same_last_activity_are_all_moved() -> None:
    make_users(10, "silent", last_activity_at=NOW - 20 * DAY)
    assert run_job(batch_size=3).succeeded == 10


def test_limit_moves_the_longest_silent_first() -> None:
    for days in (30, 16, 90, 20, 60):
        make_user(last_activity_at=NOW - days * DAY)
    result = run_job(limit=3, batch_size=2)
    assert (result.succeeded, result.status) == (3, "succeeded")
    left = UserEngagementState.objects.filter(state=State.ACTIVE).values_list("last_activity_at", flat=True)
    assert set(left) == {NOW - 16 * DAY, NOW - 20 * DAY}


def test_limit_holds_for_the_whole_run() -> None:
    make_users(2, "silent")
    make_users(5, "goodbye_sent")
    make_users(5, "remind_later")
    result = run_job(limit=4)
    assert [tally.succeeded for tally in result.checks.values()] == [2, 2, 0]


def test_failed_users_do_not_use_up_the_limit() -> None:
    users = [make_user(last_activity_at=NOW - (100 - number) * DAY) for number in range(6)]
    fail_moves_of(users[0], users[1])
    result = run_job(limit=3, batch_size=2)
    assert (result.succeeded, result.failed) == (3, 2)


def test_only_the_checks_asked_for_are_made() -> None:
    make_user("silent")
    make_user("goodbye_sent")
    result = run_job(checks=[TIMEOUT])
    assert list(result.checks) == ["goodbye_timeout"]
    assert (result.succeeded, result.skipped.total) == (1, 0)
    assert UserEngagementState.objects.filter(state=State.ACTIVE).count() == 1


@pytest.mark.parametrize("limit", [None, 4])
def test_dry_run_answers_with_the_same_numbers_and_writes_nothing(limit: int | None) -> None:
    make_users(3, "silent")
    make_users(2, "goodbye_sent")
    make_users(2, "remind_later")
    make_user("silent", user__reengagement_opt_out=True)
    make_user("silent", user__whatsapp_jid="")
    before = list(UserEngagementState.objects.order_by("pk").values())
    dry = run_job(dry_run=True, limit=limit)
    assert list(UserEngagementState.objects.order_by("pk").values()) == before
    assert not EngagementMessage.objects.exists()
    assert not EngagementStateTransition.objects.exists()
    real = run_job(limit=limit)
    assert (dry.dry_run, real.dry_run) == (True, False)
    assert dry.counts() == real.counts()
    assert dry.checks == real.checks


def statements_of_one_batch(size: int, *, bad: int | None = None) -> int:
    """The number of statements of a run over one full batch, with or without one bad user."""
    users = make_users(size, "silent")
    if bad is not None:
        fail_moves_of(users[bad])
    statements = statements_of(lambda: run_job(checks=[INACTIVITY], batch_size=size))
    assert count_moved() == size - (bad is not None)
    heal()
    UserEngagementState.objects.all().delete()
    return len(statements)


@pytest.mark.parametrize("bad", [0, 1, -2, -1])
def test_bad_user_costs_a_logarithm_of_the_batch_in_statements(bad: int) -> None:
    good = statements_of_one_batch(16)
    assert {statements_of_one_batch(size) for size in (64, 256)} == {good}
    extra = {size: statements_of_one_batch(size, bad=bad) - good for size in (16, 64, 256)}
    # Each level of the search tries two halves, and a batch costs as many statements as the good one.
    assert all(cost <= 2 * math.log2(size) * good for size, cost in extra.items()), extra
    # A batch four times as large has two levels more.
    assert extra[64] - extra[16] <= 4 * good >= extra[256] - extra[64], extra
    assert extra[256] < 3 * extra[16], "it grows with the batch, not with its logarithm"


def test_bad_users_spread_over_batches_all_stand_alone() -> None:
    users = make_users(40, "silent")
    bad = [users[number] for number in (0, 1, 17, 26, 39)]
    fail_moves_of(*bad)
    result = run_job(batch_size=8)
    assert (result.succeeded, result.failed, result.status) == (35, 5, "partial")
    assert {failure.user_id for failure in result.errors} == {user.user_id for user in bad}
    assert {failure.error for failure in result.errors} == {"poisoned (SQLSTATE P0001)"}
    assert EngagementMessage.objects.count() == EngagementStateTransition.objects.count() == 35


def test_user_whom_the_queue_refuses_keeps_their_state() -> None:
    user = make_user("silent")
    execute("ALTER TABLE engagement_message_queue ADD CONSTRAINT nobody CHECK (destination_jid = '')")
    result = run_job()
    assert (result.succeeded, result.failed) == (0, 1)
    user.refresh_from_db()
    assert user.state == State.ACTIVE
    assert not EngagementStateTransition.objects.exists()


def test_failed_user_is_not_tried_again_in_the_same_run() -> None:
    users = make_users(3, "silent")
    fail_moves_of(*users)
    assert run_job(batch_size=1).failed == 3


def test_failed_user_is_moved_by_a_later_run_once_the_cause_is_gone() -> None:
    user = make_user("silent")
    fail_moves_of(user)
    run_job()
    execute("DELETE FROM poisoned_users")
    assert run_job().succeeded == 1


def test_result_carries_the_first_hundred_errors() -> None:
    make_user("silent", last_activity_at=NOW - 90 * DAY)
    fail_moves_of(*make_users(101, "silent"))
    result = run_job(batch_size=4)
    assert (result.failed, len(result.errors)) == (101, 100)


def test_error_in_a_result_shows_no_address() -> None:
    user = make_user("silent", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    fail_moves_of(user, error="cannot move 5511999990042@s.whatsapp.net, +55 11 99999-0042")
    error = run_job().errors[0].error
    assert "99999" not in error
    assert "cannot move" in error


@pytest.mark.parametrize(
    "nonsense",
    [{"limit": 0}, {"limit": -1}, {"batch_size": 0}, {"workers": 0}, {"now": NOW.replace(tzinfo=None)}],
    ids=str,
)
def test_request_that_makes_no_sense_is_refused(nonsense: dict[str, Any]) -> None:
    make_user("silent")
    with pytest.raises(ValueError, match=r"must be 1 or more|has no offset"):
        run_job(**nonsense)
    assert count_moved() == 0
