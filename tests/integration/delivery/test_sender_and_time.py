"""What happens while a sender waits, loses the database or loses answers."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DataError, OperationalError
from psycopg.errors import SerializationFailure

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import EngagementMessage, MessageStatus, MessageType, SendingChannel
from engagement.selectors import deliveries
from engagement.selectors.deliveries import database_now
from engagement.services.delivery import channels, worker
from engagement.services.delivery.channels import (
    pause_sending,
    release_slot,
    reserve_slot,
    resume_sending,
    slow_down,
)
from engagement.services.delivery.claim import claim_message
from engagement.services.delivery.monitor import watch_sending
from engagement.services.delivery.receipts import Receipt, ReceiptKind, take_receipt
from engagement.services.delivery.result import SendStatus
from engagement.services.delivery.sender import SendRequest, send_messages
from engagement.services.resilience.stop import StopRequest
from tests.database import execute
from tests.factories import queue_for
from tests.integration.delivery.sending import (
    ScriptedBackend,
    active_user,
    goodbye_of,
    send,
    statuses,
    told_user,
)
from tests.running import run_command
from tests.times import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

    from engagement.message_backends.base import OutgoingMessage
    from engagement.selectors.deliveries import Candidate

pytestmark = pytest.mark.django_db


def pause(scope: str = "") -> None:
    now = database_now()
    pause_sending(backend="scripted", until=now + HOUR, reason="stop", now=now, scope=scope)


def test_a_pause_that_begins_while_a_sender_waits_for_its_slot_is_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_user()
    now = database_now()
    reserve_slot(backend="scripted", interval=timedelta(seconds=30), has_jitter=False, now=now)
    monkeypatch.setattr(StopRequest, "wait", lambda _stop, _seconds: pause())
    backend = ScriptedBackend()
    result = send(backend)
    assert (backend.received, statuses(), result.status) == ([], ["pending"], SendStatus.PAUSED)


def test_a_slot_that_was_not_used_is_not_kept(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """Another sender takes the message in between; then sending is paused, and another one comes due."""
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "1000"
    taken, other = goodbye_of(told_user()), goodbye_of(told_user())

    def reserve_and_lose(**values: object) -> object:
        slot = reserve_slot(**values)  # type: ignore[arg-type]
        EngagementMessage.objects.filter(pk=taken.pk).update(status=MessageStatus.SENT)
        pause()
        return slot

    monkeypatch.setattr(worker, "reserve_slot", reserve_and_lose)
    backend = ScriptedBackend()
    send(backend)
    other.refresh_from_db()
    assert (backend.received, other.status) == ([], "pending")


def test_a_reply_that_comes_due_meanwhile_goes_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        told_user()
    # As if each message took more than a second.
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))

    def answer(_message: OutgoingMessage) -> Accepted:
        at = database_now()
        queue_for(active_user().user, MessageType.REPLY, scheduled_for=at - HOUR, created_at=at)
        return Accepted("wamid.1")

    backend = ScriptedBackend(answer)
    send(backend)
    assert [message.message_type for message in backend.received] == [
        "goodbye",
        "reply",
        "goodbye",
        "goodbye",
    ]


@pytest.mark.parametrize(("again", "replies"), [(timedelta(), 2), (HOUR, 1)])
def test_a_reply_that_was_refused_is_tried_again_in_the_same_pass_after_a_while(
    monkeypatch: pytest.MonkeyPatch, again: timedelta, replies: int
) -> None:
    told_user()
    at = database_now() - HOUR
    queue_for(active_user().user, MessageType.REPLY, scheduled_for=at, created_at=at)
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(deliveries, "REPLY_AGAIN", again)
    monkeypatch.setattr(channels, "SLOWER", {})
    backend = ScriptedBackend(Refused(Scope.THROTTLE, "130429"))
    send(backend)
    assert [message.message_type for message in backend.received] == ["reply"] * replies + ["goodbye"]


def test_a_message_that_the_database_does_not_let_us_claim_waits_and_keeps_no_other_from_leaving() -> None:
    """A constraint of the assistant's own may know no status `sending`."""
    refused, other = told_user(), told_user()
    execute(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT of_the_assistant"
        f" CHECK (user_id <> '{refused.user_id}' OR status <> 'sending')"
    )
    result = send()
    assert (result.counts.sent, result.counts.waiting, result.exit_code) == (1, 1, 3)
    (error,) = result.counts.errors
    assert (error.status, "of_the_assistant" in error.reason) == ("pending", True)
    waiting = goodbye_of(refused)
    assert (waiting.status, waiting.outcome_reason) == ("pending", "cannot_be_claimed")
    assert waiting.next_attempt_at
    assert abs(waiting.next_attempt_at - database_now() - HOUR) < MINUTE
    assert goodbye_of(other).status == "sent"
    assert send().counts.waiting == 0
    watch = run_command("check_sending", "--json")
    assert (watch.code, watch.json["unclaimable"]) == (1, 1)
    assert "1 message could not be claimed;" in watch.err


def test_a_message_that_could_not_be_claimed_is_tried_again_in_a_later_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_user()
    failures = iter([DataError("broken")])

    def fail_once(*values: Any, **options: Any) -> Any:
        for failure in failures:
            raise failure
        return claim_message(*values, **options)

    monkeypatch.setattr(worker, "claim_message", fail_once)
    monkeypatch.setattr(worker, "put_off", lambda *_, **_options: None)
    backend = ScriptedBackend()
    result = send(backend, watch=True, limit=1)
    assert (result.counts.waiting, result.counts.sent) == (1, 1)


def test_a_sender_that_stops_gives_its_slot_back(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """One that is started again and again would push sending ever further away."""
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.01"
    told_user()
    told_user()
    send(limit=1)
    begins_at = SendingChannel.objects.get().next_slot_at
    for _ in range(3):
        stop = StopRequest()
        monkeypatch.setattr(StopRequest, "wait", lambda *_, stop=stop: stop.ask(signal.SIGTERM))
        result = send_messages(request=SendRequest(backend=ScriptedBackend()), stop=stop)
        assert result.status is SendStatus.INTERRUPTED
    assert SendingChannel.objects.get().next_slot_at == begins_at


def test_a_slot_behind_which_others_were_reserved_is_kept() -> None:
    now, interval = database_now(), 45 * SECOND
    first, second = (
        reserve_slot(backend="scripted", interval=interval, has_jitter=True, now=now) for _ in range(2)
    )
    after = SendingChannel.objects.get().next_slot_at
    assert isinstance(first, datetime)
    assert isinstance(second, datetime)
    release_slot(backend="scripted", begins_at=first, interval=interval)
    assert SendingChannel.objects.get().next_slot_at == after
    release_slot(backend="scripted", begins_at=second, interval=interval)
    assert SendingChannel.objects.get().next_slot_at == second


def test_a_slot_from_before_sending_was_resumed_is_not_given_back() -> None:
    """It lies far ahead, and slots have been counted anew."""
    now, interval = database_now(), 45 * SECOND
    slow_down(backend="scripted", until=now + HOUR, now=now)
    far = reserve_slot(backend="scripted", interval=interval, has_jitter=False, now=now)
    assert isinstance(far, datetime)
    resume_sending(backend="scripted", now=now)
    reserve_slot(backend="scripted", interval=interval, has_jitter=False, now=now)
    release_slot(backend="scripted", begins_at=far, interval=interval)
    assert SendingChannel.objects.get().next_slot_at == now + interval


def test_a_slot_is_not_given_back_into_a_wait() -> None:
    now, interval = database_now(), 45 * SECOND
    slot = reserve_slot(backend="scripted", interval=interval, has_jitter=False, now=now)
    assert isinstance(slot, datetime)
    slow_down(backend="scripted", until=slot + 10 * SECOND, now=now)
    release_slot(backend="scripted", begins_at=slot, interval=interval)
    assert SendingChannel.objects.get().next_slot_at == slot + 10 * SECOND


def test_what_another_time_holds_back_may_leave_by_the_clock(settings: Settings) -> None:
    now = database_now()
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{now - 2 * HOUR:%H:%M}-{now + 2 * HOUR:%H:%M}"
    user = told_user()
    assert send(now=now + 20 * HOUR).counts.waiting == 1
    assert goodbye_of(user).next_attempt_at is None
    assert send().counts.sent == 1


def test_a_reply_that_cannot_be_read_is_reported_once_in_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    told_user()
    at = database_now() - HOUR
    reply = queue_for(active_user().user, MessageType.REPLY, scheduled_for=at, created_at=at)
    seconds = iter(range(10_000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(deliveries, "REPLY_AGAIN", timedelta())

    def crash(candidate: Candidate, **options: Any) -> Any:
        assert candidate.id != reply.pk
        return claim_message(candidate, **options)

    monkeypatch.setattr(worker, "claim_message", crash)
    result = send()
    assert (result.counts.sent, result.counts.waiting) == (1, 1)
    assert (result.exit_code, [error.status for error in result.counts.errors]) == (3, ["pending"])


def test_a_retry_does_not_put_the_clock_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    told_user()
    read, elapsed = deliveries.clock_and_channels, [0.0]

    def read_late(backend: str) -> tuple[datetime, dict[str, SendingChannel]]:
        if elapsed == [0.0]:
            elapsed[0] = 100.0
            raise OperationalError from SerializationFailure()
        return read(backend)

    monkeypatch.setattr(deliveries, "clock_and_channels", read_late)
    monkeypatch.setattr(StopRequest, "wait", lambda _stop, _seconds: None)
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + elapsed[0])
    assert send().counts.sent == 1
    message = EngagementMessage.objects.get()
    assert message.claimed_at
    assert message.claimed_at <= database_now()


def test_a_claim_that_is_too_old_to_be_sent_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was away after the claim was committed: the backend's time would not suffice."""
    user = told_user()
    monkeypatch.setattr("engagement.services.delivery.sender.CLAIM_MARGIN", timedelta(seconds=-1))
    backend = ScriptedBackend()
    result = send(backend, limit=1)
    message = goodbye_of(user)
    assert (backend.received, message.status, message.attempt_id) == ([], "pending", None)
    assert result.counts.waiting == 1


def test_many_unknown_outcomes_in_a_row_pause_sending() -> None:
    for _ in range(12):
        told_user()
    backend = ScriptedBackend(*[Unknown("http_502")] * 12)
    result = send(backend)
    assert (len(backend.received), result.status) == (10, SendStatus.PAUSED)
    channel = SendingChannel.objects.get()
    assert channel.pause_reason == "10 unknown outcomes in a row"
    assert statuses().count("pending") == 2


@pytest.mark.parametrize("kind", [ReceiptKind.SENT, ReceiptKind.FAILED])
def test_what_a_receipt_has_ended_before_the_answer_is_sent_and_no_row(kind: ReceiptKind) -> None:
    def lose(message: OutgoingMessage) -> Unknown:
        now = database_now()
        receipt = Receipt(
            kind=kind, occurred_at=now, message_id=message.message_id, attempt_id=message.attempt_id
        )
        take_receipt(receipt, now=now)
        return Unknown("http_502")

    for _ in range(12):
        told_user()
    result = send(ScriptedBackend(*[lose] * 12))
    assert (result.counts.sent, result.counts.errors, result.exit_code) == (12, [], 0)


def test_an_answer_in_between_is_no_row() -> None:
    for _ in range(12):
        told_user()
    answers = [Unknown("http_502")] * 9 + [Accepted("wamid.A")] + [Unknown("http_502")] * 2
    assert send(ScriptedBackend(*answers)).counts.unknown == 11
    assert not SendingChannel.objects.filter(paused_until__isnull=False).exists()


def test_a_paused_template_is_reported_by_the_sender_and_by_the_watch() -> None:
    user = told_user()
    result = send(ScriptedBackend(Refused(Scope.TEMPLATE, "132001")))
    assert (result.status, result.exit_code) == (SendStatus.PAUSED, 5)
    watch = watch_sending(backend=ScriptedBackend(), max_age=HOUR)
    assert not watch.is_good
    assert [channel.scope for channel in watch.pauses] == ["engagement.goodbye.self_select/pt-br"]
    assert goodbye_of(user).status == "pending"


def test_an_outcome_that_cannot_be_recorded_is_unknown_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    told_user()
    told_user()
    backend = ScriptedBackend(Accepted("wamid.\0"))
    result = send(backend, limit=1)
    assert (result.counts.unknown, result.counts.failed, len(backend.received)) == (1, 0, 1)
    assert statuses() == ["pending", "sending"]


def test_the_longer_pause_counts_and_is_returned() -> None:
    now = database_now()
    long = pause_sending(backend="scripted", until=now + 2 * HOUR, reason="long", now=now)
    short = pause_sending(backend="scripted", until=now + MINUTE, reason="short", now=now)
    assert short == long


def test_a_sender_writes_the_metrics_while_a_pass_lasts(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "engagement.prom"
    settings.ENGAGEMENT_METRICS_FILE = str(path)
    monkeypatch.setattr("engagement.services.delivery.sender.METRICS_SECONDS", 0.0)
    told_user()
    seen: list[bool] = []

    def look(_message: OutgoingMessage) -> Accepted:
        seen.append(path.exists())
        return Accepted()

    send(ScriptedBackend(look))
    assert seen == [True]
