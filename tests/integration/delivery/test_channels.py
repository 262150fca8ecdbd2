"""Slots and pauses: shared by all processes, and independent of their clocks."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from engagement.message_backends.base import Refused, Scope
from engagement.models import EngagementMessage
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.channels import (
    Paused,
    current_pause,
    pause_sending,
    reserve_slot,
    resume_sending,
    slow_down,
)
from engagement.services.delivery.sender import SendRequest, send_messages
from engagement.services.resilience.stop import StopRequest
from tests.factories import NOW
from tests.integration.delivery.sending import ScriptedBackend, goodbye_of, send, told_user
from tests.times import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings


def reserve(*, jitter: bool = False) -> datetime | Paused:
    return reserve_slot(backend="b", interval=45 * SECOND, has_jitter=jitter, now=NOW)


def begin_of(slot: datetime | Paused) -> timedelta:
    assert isinstance(slot, datetime)
    return slot - NOW


@pytest.mark.django_db
def test_slots_follow_each_other_at_the_interval() -> None:
    assert [begin_of(reserve()) for _ in range(3)] == [timedelta(), 45 * SECOND, 90 * SECOND]


@pytest.mark.django_db
def test_slots_of_a_gateway_are_not_regular() -> None:
    begins = [begin_of(reserve(jitter=True)) for _ in range(9)]
    gaps = {later - earlier for earlier, later in pairwise(begins)}
    assert len(gaps) > 1
    assert all(36 * SECOND <= gap <= 54 * SECOND for gap in gaps)


@pytest.mark.django_db(transaction=True)
def test_sixteen_processes_never_share_a_slot() -> None:
    begins: list[timedelta] = []

    def take() -> None:
        try:
            begins.extend(begin_of(reserve()) for _ in range(5))
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begins) == [number * 45 * SECOND for number in range(80)]


@pytest.mark.django_db
def test_pause_lasts_until_its_end() -> None:
    pause_sending(backend="b", until=NOW + HOUR, reason="broken", now=NOW)
    assert reserve() == Paused(NOW + HOUR, "broken")
    assert current_pause("b", now=NOW + HOUR - MINUTE)
    assert current_pause("b", now=NOW + HOUR) is None


@pytest.mark.django_db
def test_longer_of_two_pauses_counts() -> None:
    for hours in (3, 1):
        pause_sending(backend="b", until=NOW + hours * HOUR, reason=f"{hours}", now=NOW)
    assert reserve() == Paused(NOW + 3 * HOUR, "3")


@pytest.mark.django_db
def test_pause_of_one_backend_leaves_the_others_running() -> None:
    pause_sending(backend="other", until=NOW + HOUR, reason="broken", now=NOW)
    assert isinstance(reserve(), datetime)


@pytest.mark.django_db
def test_slow_down_moves_the_next_slot_only_forwards() -> None:
    slow_down(backend="b", until=NOW + HOUR, now=NOW)
    slow_down(backend="b", until=NOW + MINUTE, now=NOW)
    assert begin_of(reserve()) == HOUR


@pytest.mark.django_db
def test_resume_ends_all_pauses_and_releases_what_they_held_back() -> None:
    user = told_user()
    send(ScriptedBackend(Refused(Scope.TEMPLATE, "132001")))
    send()
    assert goodbye_of(user).outcome_reason == "waiting_pause"
    assert resume_sending(backend="scripted", now=database_now()).pauses == 1
    assert send().counts.sent == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "reason", "is_released"),
    [
        ("pending", "waiting_pause", True),
        ("pending", "waiting_retry", False),
        ("pending", "waiting_hours", False),
        ("failed", "waiting_pause", False),
    ],
)
def test_resume_releases_only_what_a_pause_holds_back(status: str, reason: str, *, is_released: bool) -> None:
    message = goodbye_of(told_user())
    later = database_now() + HOUR
    EngagementMessage.objects.update(status=status, outcome_reason=reason, next_attempt_at=later)
    resume_sending(backend="scripted", now=database_now())
    message.refresh_from_db()
    held_back = (message.next_attempt_at, message.outcome_reason)
    assert held_back == ((None, None) if is_released else (later, reason))


@pytest.mark.django_db
def test_stop_request_ends_the_wait_for_a_slot() -> None:
    told_user()
    slow_down(backend="scripted", until=database_now() + HOUR, now=database_now())
    stop = StopRequest()
    timer = threading.Timer(0.5, stop.ask, [15])
    timer.start()
    result = send_messages(request=SendRequest(backend=ScriptedBackend()), stop=stop)
    timer.join()
    assert (result.exit_code, EngagementMessage.objects.get().status) == (143, "pending")


@pytest.mark.django_db
def test_resume_ends_the_wait_that_a_refusal_asked_for() -> None:
    slow_down(backend="b", until=NOW + HOUR, now=NOW)
    assert resume_sending(backend="b", now=NOW + MINUTE).waited_until == NOW + HOUR
    assert begin_of(reserve()) == timedelta()


@pytest.mark.django_db
def test_resume_ends_the_wait_for_slots_that_lie_far_ahead() -> None:
    """A slower pace reserved them, or a clock that was wrong."""
    reserve_slot(backend="b", interval=HOUR, has_jitter=False, now=NOW)
    assert resume_sending(backend="b", now=NOW + MINUTE).waited_until == NOW + HOUR
    assert begin_of(reserve()) == timedelta()


@pytest.mark.django_db
def test_resume_keeps_the_ordinary_pace() -> None:
    reserve()
    assert not resume_sending(backend="b", now=NOW)
    assert begin_of(reserve()) == 45 * SECOND


@pytest.mark.django_db
def test_a_sender_that_sleeps_until_its_slot_wakes_when_sending_is_resumed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "1000"
    told_user()
    slow_down(backend="scripted", until=database_now() + HOUR, now=database_now())
    waits: list[float] = []

    def wait(_stop: StopRequest, seconds: float) -> None:
        waits.append(seconds)
        resume_sending(backend="scripted", now=database_now())

    monkeypatch.setattr(StopRequest, "wait", wait)
    assert send().counts.sent == 1
    assert max(waits) <= 60
