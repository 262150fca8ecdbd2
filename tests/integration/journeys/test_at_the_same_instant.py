"""A message and a run reach the same user at the same instant, on real connections.

Whichever comes first, the audit log and the reply are those of one event after the other.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Final, TypeVar

import pytest
from django.db import connections, transaction

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.services.preferences import opt_out
from tests.database import (
    another_connection,
    closed_gate,
    wait_at_gate,
    wait_for_somebody_at_a_row,
    wait_for_somebody_at_the_gate,
)
from tests.factories import NOW, make_user, make_users, queue_for
from tests.integration.services.users import hear
from tests.running import run_job
from tests.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from engagement.services.inbound_messages import InboundResult

pytestmark = pytest.mark.usefixtures("committed")

T = TypeVar("T")

ANSWERED: Final = (["goodbye_response_2"], "remind_later", "engagement.reply.see_you_in_two_weeks")
TIMED_OUT_AND_RETURNED: Final = (["goodbye_timeout", "user_message"], "active", None)
"""The two possible results of an answer and a timeout: the triggers, the last state, and the reply."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def start(threads: ThreadPoolExecutor, call: Callable[[], T]) -> Future[T]:
    """Run `call` on a connection of its own."""

    def run() -> T:
        try:
            return call()
        finally:
            connections.close_all()

    return threads.submit(run)


def moves_of(user_id: UUID) -> list[str]:
    moves = EngagementStateTransition.objects.filter(user_id=user_id)
    return list(moves.order_by("id").values_list("trigger", flat=True))


def story_of(user: UserEngagementState, result: InboundResult) -> tuple[list[str], str, str | None]:
    user.refresh_from_db()
    return moves_of(user.user_id), user.state, result.reply_key


@contextmanager
def run_in_the_middle_of_its_batch(threads: ThreadPoolExecutor) -> Iterator[None]:
    """Inside the block a run has claimed the due users and waits while it moves them."""
    wait_at_gate()
    with closed_gate() as gate:
        job = start(threads, run_job)
        wait_for_somebody_at_the_gate(gate)
        yield
        wait_for_somebody_at_a_row(gate)
    assert job.result(DEADLINE_SECONDS).succeeded == 1


def test_answer_before_the_timeout_wins() -> None:
    user = make_user("goodbye_sent")
    result = hear(user, "2")
    assert run_job().processed == 0
    assert story_of(user, result) == ANSWERED


def test_timeout_before_the_answer_wins() -> None:
    user = make_user("goodbye_sent")
    run_job()
    assert story_of(user, hear(user, "2")) == TIMED_OUT_AND_RETURNED


def test_run_passes_over_a_user_whose_answer_is_being_processed(threads: ThreadPoolExecutor) -> None:
    user = make_user("goodbye_sent")
    with transaction.atomic():
        result = hear(user, "2")
        assert start(threads, run_job).result(DEADLINE_SECONDS).processed == 0
    assert story_of(user, result) == ANSWERED
    assert run_job().processed == 0


def test_answer_waits_for_a_timeout_in_progress(threads: ThreadPoolExecutor) -> None:
    user = make_user("goodbye_sent")
    with run_in_the_middle_of_its_batch(threads):
        answer = start(threads, lambda: hear(user, "2"))
    assert story_of(user, answer.result(DEADLINE_SECONDS)) == TIMED_OUT_AND_RETURNED


def test_answers_and_timeouts_of_many_users_do_not_mix(threads: ThreadPoolExecutor) -> None:
    users = make_users(40, "goodbye_sent")
    line = Barrier(3)

    def run() -> int:
        line.wait(DEADLINE_SECONDS)
        return run_job(batch_size=1).succeeded

    def answer(some: list[UserEngagementState]) -> list[InboundResult]:
        line.wait(DEADLINE_SECONDS)
        return [hear(user, "2") for user in some]

    job = start(threads, run)
    answers = [start(threads, partial(answer, some)) for some in (users[20:], users[19::-1])]
    results = [result for done in answers for result in done.result(DEADLINE_SECONDS)]
    told = [*users[20:], *users[19::-1]]
    stories = [story_of(user, result) for user, result in zip(told, results, strict=True)]
    assert all(story in (ANSWERED, TIMED_OUT_AND_RETURNED) for story in stories)
    assert job.result(DEADLINE_SECONDS) == stories.count(TIMED_OUT_AND_RETURNED)
    assert not EngagementMessage.objects.exists()


def test_goodbye_that_was_being_queued_is_cancelled(threads: ThreadPoolExecutor) -> None:
    user = make_user("silent")
    with run_in_the_middle_of_its_batch(threads):
        message = start(threads, lambda: hear(user, "oi"))
    assert message.result(DEADLINE_SECONDS).cancelled == 1
    assert EngagementMessage.objects.get().status == "cancelled"
    assert story_of(user, message.result())[:2] == (["inactivity_14d", "user_message"], "active")


def test_user_who_writes_during_the_claim_gets_no_goodbye(threads: ThreadPoolExecutor) -> None:
    user = make_user("silent")
    with transaction.atomic():
        hear(user, "oi")
        assert start(threads, run_job).result(DEADLINE_SECONDS).processed == 0
    assert run_job().processed == 0
    assert not EngagementMessage.objects.exists()


def test_user_who_opts_out_while_the_goodbye_is_queued_does_not_get_it(threads: ThreadPoolExecutor) -> None:
    user = make_user("silent")
    with run_in_the_middle_of_its_batch(threads):
        wish = start(threads, lambda: opt_out(user_id=user.user_id, now=NOW))
    assert wish.result(DEADLINE_SECONDS).cancelled == 1
    assert EngagementMessage.objects.get().status == "cancelled"
    assert UserProfile.objects.get().reengagement_opt_out


def test_same_answer_delivered_at_once_moves_once_with_one_reply(
    threads: ThreadPoolExecutor,
) -> None:
    user = make_user("goodbye_sent")
    line = Barrier(4)

    def answer() -> InboundResult:
        line.wait(DEADLINE_SECONDS)
        return hear(user, "2")

    results = [done.result(DEADLINE_SECONDS) for done in [start(threads, answer) for _ in range(4)]]
    assert sorted(result.novelty for result in results) == ["new", "repeat", "repeat", "repeat"]
    assert {story_of(user, result)[1:] for result in results} == {ANSWERED[1:]}
    assert moves_of(user.user_id) == ANSWERED[0]


def test_goodbye_that_is_being_sent_stays_sent(threads: ThreadPoolExecutor) -> None:
    user = make_user("goodbye_sent")
    goodbye = queue_for(user, MessageType.GOODBYE)
    with another_connection(autocommit=False) as sender, another_connection() as other:
        sender.execute("UPDATE engagement_message_queue SET status = 'sent' WHERE id = %s", [goodbye.id])
        message = start(threads, lambda: hear(user, "oi"))
        wait_for_somebody_at_a_row(other)
        sender.commit()
    assert message.result(DEADLINE_SECONDS).cancelled == 0
    goodbye.refresh_from_db()
    assert goodbye.status == "sent"
