"""The transaction of a batch: its limits, and that no other may be around it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.db import connection, transaction

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.selectors import due_users
from engagement.services.job.batch import BatchContext, BatchError, move_batch
from engagement.services.resilience.transactions import in_transaction
from engagement.states import CHECKS, Policy
from tests.factories import NOW, make_user, make_users

if TYPE_CHECKING:
    from engagement.selectors.due_users import DueUser

pytestmark = pytest.mark.django_db

LOCK_TIMEOUT = timedelta(milliseconds=1501)
CONTEXT = BatchContext(job_id=UUID(int=7), now=NOW, policy=Policy(), lock_timeout=LOCK_TIMEOUT)


def limits() -> tuple[str, ...]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('enable_seqscan')")
        return tuple(cursor.fetchone())


def test_question_has_the_limits_of_a_batch() -> None:
    assert in_transaction(limits, lock_timeout=LOCK_TIMEOUT) == ("1501ms", "off")


def test_question_may_be_allowed_whole_tables() -> None:
    assert in_transaction(limits, lock_timeout=LOCK_TIMEOUT, whole_tables=True) == ("1501ms", "on")


def test_batch_waits_for_no_lock_longer_and_reads_no_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []

    def look(*_arguments: object) -> list[DueUser]:
        seen.append(limits())
        return []

    monkeypatch.setattr(due_users, "read_due_users", look)
    move_batch(CHECKS[0], UserEngagementState.objects.none(), context=CONTEXT)
    assert seen == [("1501ms", "off")]


def test_batch_follows_the_policy_of_its_run_and_names_the_run() -> None:
    user = make_user("silent")
    context = replace(CONTEXT, policy=Policy(goodbye_wait=timedelta(hours=5)))
    page = due_users.next_page(CHECKS[0], now=NOW, policy=context.policy, after=None, size=10)
    assert [moved.user_state.user_id for moved in move_batch(CHECKS[0], page, context=context)] == [
        user.user_id
    ]
    user.refresh_from_db()
    assert user.goodbye_expires_at == NOW + timedelta(hours=5)
    assert EngagementStateTransition.objects.get().metadata["job_id"] == str(context.job_id)


@pytest.mark.django_db(transaction=True)
def test_limits_end_with_the_transaction() -> None:
    before = limits()
    in_transaction(limits, lock_timeout=LOCK_TIMEOUT)
    assert limits() == before


@pytest.mark.django_db(transaction=True)
def test_batch_within_another_transaction_is_refused_before_anybody_moves() -> None:
    make_users(1, "silent")
    with transaction.atomic():
        with pytest.raises(RuntimeError, match="durable"):
            in_transaction(limits, lock_timeout=LOCK_TIMEOUT)
        with pytest.raises(BatchError, match=r"batch of 0 claimed users") as raised:
            move_batch(CHECKS[0], UserEngagementState.objects.all(), context=CONTEXT)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert not UserEngagementState.objects.exclude(state="active").exists()
