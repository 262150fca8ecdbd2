"""Several senders, and senders beside other programs: real connections, no message twice."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection, transaction

from engagement.message_backends.base import Accepted
from engagement.models import EngagementMessage, SendingChannel, UserEngagementState, UserProfile
from engagement.selectors.deliveries import database_now
from engagement.services.delivery import claim
from engagement.services.delivery.sender import SendRequest, send_messages
from engagement.services.resilience import workers
from engagement.services.resilience.stop import StopRequest
from tests.acceptance.runs import wait_until_waiting
from tests.database import another_connection, on_every
from tests.factories import make_users
from tests.integration.delivery.sending import ScriptedBackend, send, statuses, told_user
from tests.running import run_job
from tests.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

    from engagement.message_backends.base import OutgoingMessage

pytestmark = pytest.mark.django_db(transaction=True)


def run_at_once(backends: list[ScriptedBackend]) -> None:
    def run(backend: ScriptedBackend) -> None:
        try:
            send_messages(request=SendRequest(backend=backend))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[backend]) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_four_senders_at_once_send_each_message_once() -> None:
    now = database_now() - MINUTE
    make_users(60, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    backends = [ScriptedBackend() for _ in range(4)]
    run_at_once(backends)
    received = Counter(message.message_id for backend in backends for message in backend.received)
    assert set(received.values()) == {1}
    # A message that another sender has locked is passed by; the next call sends it.
    rest = ScriptedBackend()
    send(rest)
    received.update(message.message_id for message in rest.received)
    assert len(received) == 60
    assert set(received.values()) == {1}
    assert statuses() == ["sent"] * 60


@pytest.mark.parametrize("table", [UserEngagementState, UserProfile, EngagementMessage])
def test_message_whose_rows_are_locked_is_passed_by(table: Any) -> None:
    user = told_user()
    locked, ended = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                list(table.objects.filter(user_id=user.user_id).select_for_update(no_key=True))
                locked.set()
                ended.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(20)
    backend = ScriptedBackend()
    try:
        send(backend)
    finally:
        ended.set()
        thread.join()
    assert (backend.received, statuses()) == ([], ["pending"])
    assert send().counts.sent == 1


def test_cap_holds_for_senders_at_once(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_DAILY_CAP = 10
    now = database_now() - MINUTE
    make_users(40, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    backends = [ScriptedBackend() for _ in range(4)]
    run_at_once(backends)
    assert sum(len(backend.received) for backend in backends) == 10


def test_workers_share_the_queue() -> None:
    now = database_now() - MINUTE
    make_users(20, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    result = send(workers=3)
    assert result.counts.sent + EngagementMessage.objects.filter(status="pending").count() == 20
    assert result.status.value == "succeeded"


def test_no_transaction_is_open_while_the_backend_works() -> None:
    told_user()
    open_ones: list[bool] = []

    def note(_message: OutgoingMessage) -> Accepted:
        open_ones.append(connection.in_atomic_block)
        return Accepted("wamid.1")

    send(ScriptedBackend(note))
    assert open_ones == [False]


def test_claims_under_a_cap_wait_for_each_other(settings: Settings) -> None:
    """Else two claims at once would both take the last place."""
    settings.ENGAGEMENT_SEND_DAILY_CAP = "5"
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = "60"
    told_user()
    backend = ScriptedBackend()
    with another_connection(autocommit=False) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [claim._CAP_LOCK])
        sender = threading.Thread(target=run_at_once, args=[[backend]])
        sender.start()
        wait_until_waiting(other, 1, name="")
        assert backend.received == []
        other.rollback()
    sender.join()
    assert len(backend.received) == 1


@pytest.mark.parametrize(("watch", "status", "sent"), [(True, "failed", 0), (False, "succeeded", 2)])
def test_workers_that_all_miss_the_database_end_a_watching_sender(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, *, watch: bool, status: str, sent: int
) -> None:
    """What watches it starts it again, with all workers. One that sends what is due goes on without them."""
    told_user()
    told_user()
    attempts = count()

    def away_at_first() -> None:
        if next(attempts) < 2:
            raise OperationalError("connection refused")

    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 0
    monkeypatch.setattr(workers, "_ask_anything", away_at_first)
    result = send(workers=2, watch=watch)
    assert (result.status, result.counts.sent) == (status, sent)


def test_workers_count_once_what_another_time_holds_back(settings: Settings) -> None:
    now = database_now()
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{now - 2 * HOUR:%H:%M}-{now + 2 * HOUR:%H:%M}"
    make_users(8, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now - MINUTE)
    assert send(workers=4, now=now + 20 * HOUR).counts.waiting == 8
    assert send(workers=4, limit=7, now=now + HOUR).counts.sent == 7
    assert send().counts.sent == 1


@pytest.mark.usefixtures("committed")
def test_a_message_whose_row_nobody_can_change_is_reported_once() -> None:
    now = database_now() - MINUTE
    make_users(6, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    on_every("RAISE EXCEPTION 'hands off';", "UPDATE ON engagement_message_queue")
    result = send(workers=3)
    assert (result.counts.waiting, len(result.counts.errors)) == (6, 6)


def test_a_dry_run_waits_for_no_lock_and_passes_nothing_by() -> None:
    now = database_now() - MINUTE
    make_users(1, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    with another_connection(autocommit=False) as other:
        other.execute("SELECT FROM engagement_message_queue FOR UPDATE")
        assert send(dry_run=True).counts.sent == 1
        assert send().counts.sent == 0


def test_workers_that_stop_give_all_their_slots_back(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.01"
    now = database_now() - MINUTE
    make_users(5, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    send(limit=1)
    begins_at = SendingChannel.objects.get().next_slot_at
    for _ in range(2):
        stop = StopRequest()
        timer = threading.Timer(1.0, stop.ask, [15])
        timer.start()
        send_messages(request=SendRequest(backend=ScriptedBackend(), workers=3), stop=stop)
        timer.join()
    assert SendingChannel.objects.get().next_slot_at == begins_at
