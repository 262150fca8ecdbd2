"""Delivery at most once: the count of the server that receives is the judge."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Final

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from engagement.message_backends.base import Refused, Scope
from engagement.models import EngagementMessage, MessageStatus, SendingChannel, UserEngagementState
from engagement.sandbox import people
from engagement.sandbox.server import Answer, WhatsAppSandbox
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.receipts import Receipt, ReceiptKind, callback_ids, take_receipt
from engagement.services.inbound_messages import receive_message
from engagement.services.job.daily_job import RunRequest, run_daily_job
from engagement.services.preferences import opt_out
from engagement.services.support import retry_message
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_run import undo_run
from tests.acceptance.deliveries import (
    DYING,
    Refusals,
    assert_at_most_once,
    end_of,
    let_claims_expire,
    queue_goodbyes,
    send_here,
    send_to_the_end,
    start_sender,
    taken,
    wait_for_messages,
)
from tests.acceptance.pooler import PROGRAM, pooler_in
from tests.acceptance.runs import kill
from tests.database import (
    GATE,
    closed_gate,
    execute,
    in_thread,
    other_sessions,
    wait_for_somebody_at_the_gate,
)
from tests.factories import make_users
from tests.times import DAY, HOUR, MINUTE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from random import Random
    from uuid import UUID

    from engagement.sandbox.server import SandboxMessage
    from tests.acceptance.conftest import Size
    from tests.acceptance.own_server import OwnServer

WORKERS: Final = 4


@pytest.fixture
def goodbyes(size: Size) -> int:
    return size.goodbyes


def finish(sandbox: WhatsAppSandbox) -> None:
    """The next sender, after the claims of the dead ones have expired."""
    let_claims_expire()
    sandbox.respond = None
    # A slot of a worker that was killed may have locked a message that the next call finds.
    for _ in range(2):
        assert send_here(sandbox).code == 0


def test_senders_that_are_killed_at_random_neither_lose_nor_double(
    sandbox: WhatsAppSandbox, size: Size, goodbyes: int, chance: Random
) -> None:
    queue_goodbyes(goodbyes)
    sandbox.respond = lambda _message: sleep(chance.random() / 50)
    for _ in range(size.kills):
        process = start_sender(sandbox, "--workers", str(WORKERS))
        more = chance.randrange(1, max(2, goodbyes // size.kills))
        wait_for_messages(sandbox, len(sandbox.messages) + more, of=process)
        kill(process)
    finish(sandbox)
    assert_at_most_once(sandbox, pending=0, failed=0, cancelled=0)
    unknown = EngagementMessage.objects.filter(status=MessageStatus.UNKNOWN)
    assert unknown.count() <= size.kills * WORKERS
    # WhatsApp's receipts resolve those that arrived; the others have not.
    for message in sandbox.messages:
        people.report(message, ReceiptKind.SENT)
    assert_at_most_once(sandbox, sent=len(sandbox.messages))
    assert taken(sandbox).keys().isdisjoint(unknown.values_list("id", flat=True))


def wait_at_status(status: str) -> None:
    """Make every transaction that gives a message this status wait for the gate."""
    execute(
        f"""
        CREATE FUNCTION at_move() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END $$;
        CREATE TRIGGER at_move BEFORE UPDATE ON engagement_message_queue
        FOR EACH ROW WHEN (NEW.status = '{status}') EXECUTE FUNCTION at_move();
        """
    )


@pytest.mark.parametrize(
    ("status", "received", "left_as"),
    [("sending", 0, MessageStatus.PENDING), ("sent", 1, MessageStatus.SENT)],
    ids=["while it is claimed", "while its end is recorded"],
)
def test_a_kill_in_a_transaction(
    sandbox: WhatsAppSandbox, status: str, received: int, left_as: MessageStatus
) -> None:
    queue_goodbyes(1)
    wait_at_status(status)
    with closed_gate() as gate:
        process = start_sender(sandbox)
        wait_for_somebody_at_the_gate(gate)
        kill(process)
    execute("DROP FUNCTION at_move CASCADE")
    assert len(sandbox.messages) == received
    # The end is one statement, which the server finishes and commits although its client is dead.
    wait_until(lambda: EngagementMessage.objects.get().status == left_as, f"the message is not {left_as}")
    finish(sandbox)
    assert_at_most_once(sandbox, sent=1)


@pytest.mark.parametrize(("when", "received"), [("before", 0), ("after", 1)])
def test_a_kill_around_the_call(sandbox: WhatsAppSandbox, when: str, received: int) -> None:
    queue_goodbyes(2)
    process = start_sender(sandbox, DIE=when, ENGAGEMENT_MESSAGE_BACKEND=DYING)
    process.communicate()
    assert process.returncode == -9
    assert len(sandbox.messages) == received
    finish(sandbox)
    assert_at_most_once(sandbox, sent=1, unknown=1)


def test_a_kill_while_the_server_works(sandbox: WhatsAppSandbox) -> None:
    queue_goodbyes(1)
    killed = threading.Event()

    def wait(_message: SandboxMessage) -> None:
        killed.wait(60)

    sandbox.respond = wait
    process = start_sender(sandbox)
    wait_for_messages(sandbox, 1)
    kill(process)
    killed.set()
    finish(sandbox)
    assert_at_most_once(sandbox, unknown=1)


@pytest.mark.parametrize(
    "is_pooled",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                PROGRAM is None, reason="pgbouncer is not installed (on Debian: apt install pgbouncer)"
            ),
        ),
    ],
    ids=["direct", "pooled"],
)
def test_four_senders_share_the_queue(sandbox: WhatsAppSandbox, goodbyes: int, *, is_pooled: bool) -> None:
    queue_goodbyes(goodbyes)
    if is_pooled:
        with pooler_in("transaction") as url:
            share(sandbox, DATABASE_URL=url, DATABASE_BEHIND_POOLER="on")
    else:
        share(sandbox)
    finish(sandbox)
    assert_at_most_once(sandbox, sent=goodbyes)


def share(sandbox: WhatsAppSandbox, **environment: str) -> None:
    processes = [start_sender(sandbox, **environment) for _ in range(WORKERS)]
    outcomes = [end_of(process) for process in processes]
    assert [outcome.code for outcome in outcomes] == [0] * WORKERS
    assert sum(outcome.json["sent"] for outcome in outcomes) == len(sandbox.messages)


@pytest.mark.parametrize("code", [368, 190])
def test_an_error_of_the_account_pauses_and_costs_no_message_an_attempt(
    sandbox: WhatsAppSandbox, code: int
) -> None:
    queue_goodbyes(100)
    refusals = Refusals(dict.fromkeys(range(40, 200), code))
    sandbox.respond = refusals
    outcome = send_to_the_end(sandbox, "--workers", "2")
    assert (outcome.code, outcome.json["status"]) == (5, "paused")
    assert_at_most_once(sandbox, refused=refusals.refused, sent=39, pending=61, failed=0)
    assert len(refusals.refused) <= 2
    untouched = EngagementMessage.objects.filter(retry_count=0, attempt_id=None, claimed_at=None)
    assert untouched.count() == 61
    assert send_here(sandbox).code == 5
    SendingChannel.objects.update(paused_until=None, next_slot_at=None)
    finish(sandbox)
    assert_at_most_once(sandbox, refused=refusals.refused, sent=100)


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, 60), ({"Retry_After": "600"}, 600), ({"Retry_After": "soon"}, 60)]
)
def test_too_many_requests_slow_everybody_down_and_cost_no_attempt(
    sandbox: WhatsAppSandbox, headers: dict[str, str], seconds: int
) -> None:
    queue_goodbyes(6)
    sandbox.respond = lambda _message: Answer.error(130429, status=429, **headers)
    sender = start_sender(sandbox)
    slowed_down = SendingChannel.objects.filter(next_slot_at__isnull=False)
    wait_until(slowed_down.exists, "the refusal did not slow the sender down")
    channel = slowed_down.get()
    assert channel.next_slot_at
    wait = channel.next_slot_at - database_now()
    # Looked at before the others start, which may take long on a busy machine.
    assert timedelta(seconds=seconds - 30) < wait <= timedelta(seconds=seconds)
    senders = [sender, *(start_sender(sandbox) for _ in range(2))]
    wait_until(lambda: len(other_sessions()) == len(senders), "the senders do not wait for a slot")
    sleep(1)
    for process in senders:
        process.terminate()
        assert end_of(process).code == 143
    assert len(sandbox.messages) == 1
    assert slowed_down.get().next_slot_at == channel.next_slot_at
    SendingChannel.objects.update(next_slot_at=None)
    finish(sandbox)
    assert_at_most_once(sandbox, refused=[1], sent=6)
    assert not EngagementMessage.objects.exclude(retry_count=0).exists()


def test_quiet_hours_over_midnight_and_the_end_of_summer_time(sandbox: WhatsAppSandbox) -> None:
    """In New York, 1 November 2026 has the hour from one to two o'clock twice."""
    queue_goodbyes(4, now=datetime(2026, 10, 31, 20, tzinfo=UTC))

    def send(now: str, *arguments: str) -> int:
        hours = {"ENGAGEMENT_SEND_HOURS": "22:00-02:00", "ENGAGEMENT_SEND_TIME_ZONE": "America/New_York"}
        assert send_here(sandbox, "--now", now, *arguments, **hours).code == 0
        return len(sandbox.messages)

    assert send("2026-11-01T01:59:59Z") == 0
    assert send("2026-11-01T02:00:00Z", "--limit", "1") == 1
    assert send("2026-11-01T06:59:59Z", "--limit", "1") == 2
    assert send("2026-11-01T07:00:00Z") == 2
    assert send("2026-11-02T02:59:59Z") == 2
    assert send("2026-11-02T03:00:00Z") == 4
    assert_at_most_once(sandbox, sent=4)


def test_an_error_of_the_account_that_comes_as_a_receipt_pauses_as_well(sandbox: WhatsAppSandbox) -> None:
    queue_goodbyes(100)

    def report_failure(message: SandboxMessage) -> None:
        if message.number == 40:
            failure = failure_of(message, Scope.ACCOUNT, "131031")
            in_thread(partial(take_receipt, failure, now=timezone.now())).join()

    sandbox.respond = report_failure
    outcome = send_to_the_end(sandbox, "--workers", "2")
    assert outcome.code == 5
    assert len(sandbox.messages) < 50
    SendingChannel.objects.update(paused_until=None)
    finish(sandbox)
    assert_at_most_once(sandbox, sent=100)
    assert EngagementMessage.objects.filter(failed_at__isnull=False).count() == 1


def failure_of(message: SandboxMessage, scope: Scope, code: str) -> Receipt:
    ids = callback_ids(message.callback_data)
    assert ids
    return Receipt(
        kind=ReceiptKind.FAILED,
        occurred_at=timezone.now(),
        message_id=ids[0],
        attempt_id=ids[1],
        provider_message_id=message.provider_message_id,
        refusal=Refused(scope, code),
    )


def test_receipts_in_any_order_before_the_answer(
    sandbox: WhatsAppSandbox, goodbyes: int, chance: Random
) -> None:
    queue_goodbyes(goodbyes)

    def report_all(message: SandboxMessage) -> None:
        kinds = [ReceiptKind.SENT, ReceiptKind.DELIVERED, ReceiptKind.READ] * 3
        chance.shuffle(kinds)
        in_thread(lambda: [people.report(message, kind) for kind in kinds]).join()

    sandbox.respond = report_all
    assert send_to_the_end(sandbox, "--workers", "2").code == 0
    assert_at_most_once(sandbox, sent=goodbyes)
    rows = EngagementMessage.objects.filter(delivered_at__isnull=False, read_at__isnull=False, failed_at=None)
    assert rows.count() == goodbyes


def test_a_receipt_of_an_attempt_whose_answer_was_lost_resolves_it(sandbox: WhatsAppSandbox) -> None:
    queue_goodbyes(3)
    sandbox.respond = lambda _message: sleep(3)
    outcome = send_to_the_end(sandbox, ENGAGEMENT_SEND_TIMEOUT_SECONDS="1")
    assert (outcome.code, outcome.json["unknown"]) == (3, 3)
    assert {error["reason"] for error in outcome.json["errors"]} == {"timeout"}
    assert_at_most_once(sandbox, unknown=3)
    people.report(sandbox.messages[0], ReceiptKind.DELIVERED)
    take_receipt(failure_of(sandbox.messages[1], Scope.RECIPIENT, "131026"), now=timezone.now())
    assert_at_most_once(sandbox, unknown=1, sent=2)
    assert EngagementMessage.objects.get(failed_at__isnull=False).error_code == "131026"


def test_nobody_who_had_written_or_opted_out_is_told_goodbye(
    sandbox: WhatsAppSandbox, goodbyes: int, chance: Random
) -> None:
    """A claim that began after a user's message was committed must not be there."""
    users = queue_goodbyes(goodbyes)
    chosen = chance.sample(users, goodbyes // 2)
    committed_at: dict[UUID, object] = {}

    def interfere() -> None:
        for number, user in enumerate(chosen):
            now = timezone.now()
            if number % 2:
                receive_message(user_id=user.user_id, text="oi", received_at=now, now=now)
            else:
                opt_out(user_id=user.user_id, now=now)
            committed_at[user.user_id] = database_now()

    sandbox.respond = lambda _message: sleep(0.01)
    process = start_sender(sandbox, "--workers", "2")
    wait_for_messages(sandbox, goodbyes // 10, of=process)
    in_thread(interfere).join()
    assert end_of(process).code == 0
    finish(sandbox)
    assert_at_most_once(sandbox, pending=0, unknown=0, failed=0)
    for row in EngagementMessage.objects.filter(status=MessageStatus.SENT, user_id__in=committed_at):
        assert row.claimed_at
        assert row.claimed_at <= committed_at[row.user_id]  # type: ignore[operator]
    assert EngagementMessage.objects.filter(status=MessageStatus.CANCELLED).exists()


def test_timeouts_undo_and_retries_beside_the_senders(
    sandbox: WhatsAppSandbox, goodbyes: int, chance: Random
) -> None:
    now = database_now() - MINUTE
    make_users(goodbyes, "silent", last_activity_at=now - 20 * DAY)
    job_id = uuid7()
    run_daily_job(request=RunRequest(job_id=job_id, now=now))
    refusals = Refusals(dict.fromkeys(range(3, goodbyes, 7), 131026))
    sandbox.respond = refusals

    def interfere() -> None:
        for message_id in EngagementMessage.objects.filter(status="failed").values_list("id", flat=True):
            retry_message(message_id=message_id, now=timezone.now())
        undo_run(request=UndoRequest(job_id=job_id, now=timezone.now()))
        run_daily_job(request=RunRequest(job_id=uuid7(), now=database_now() + 49 * HOUR))

    process = start_sender(sandbox, "--workers", "2", "--limit", str(goodbyes // 2))
    wait_for_messages(sandbox, goodbyes // 4, of=process)
    in_thread(interfere).join()
    end_of(process)
    let_claims_expire()
    send_here(sandbox)
    assert_at_most_once(sandbox, refused=refusals.refused, sending=0)


def test_the_mistakes_of_a_provider_cost_nobody_a_second_message(
    sandbox: WhatsAppSandbox, chance: Random
) -> None:
    """HTML, an error after the message was recorded, a redirect, an unknown code: all unknown."""
    strange = [
        Answer(200, b"<html>Welcome to the hotel</html>"),
        Answer(500, b""),
        Answer(302, b"", {"Location": f"{sandbox.url}/v23.0/4711/messages"}),
        Answer(400, {"error": {"code": 424242}}),
        Answer(200, b" " * 200_000),
    ]
    queue_goodbyes(len(strange) + 1)
    sandbox.respond = lambda message: strange[message.number - 1] if message.number <= len(strange) else None
    assert send_here(sandbox).code == 3
    finish(sandbox)
    assert_at_most_once(sandbox, unknown=len(strange), sent=1)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_database_that_crashes_between_the_answer_and_its_record(
    sandbox: WhatsAppSandbox, server: OwnServer, *, comes_back: bool
) -> None:
    with server.connect() as connected:
        connected.execute(TOLD_USER)
    restart = threading.Timer(1, server.start)

    def crash(_message: SandboxMessage) -> None:
        server.crash()
        if comes_back:
            restart.start()

    sandbox.respond = crash
    seconds = "60" if comes_back else "1"
    sender = {"DATABASE_URL": server.url, "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": seconds}
    outcome = send_to_the_end(sandbox, **sender)
    if comes_back:
        restart.join()
    else:
        server.start()
    with server.connect() as connected:
        row = connected.execute("SELECT status FROM engagement_message_queue").fetchone()
    assert (outcome.code, row) == ((0, ("sent",)) if comes_back else (1, ("sending",)))
    assert len(sandbox.messages) == 1


TOLD_USER: Final = """
    WITH profile AS (
        INSERT INTO user_profiles (whatsapp_jid) VALUES ('5511900000000@s.whatsapp.net') RETURNING user_id
    ), state AS (
        INSERT INTO user_engagement_states
            (user_id, state, last_activity_at, goodbye_sent_at, goodbye_expires_at)
        SELECT user_id, 'goodbye_sent', now() - interval '20 days', now(), now() + interval '2 days'
        FROM profile
    )
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
    SELECT user_id, 'goodbye', 'engagement.goodbye.self_select', 'individual', '5511900000000@s.whatsapp.net',
        user_id || ':goodbye_sent:' || to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')
    FROM profile
"""


def test_the_wait_of_a_goodbye_begins_when_it_is_sent(sandbox: WhatsAppSandbox) -> None:
    queue_goodbyes(5)
    assert send_here(sandbox).code == 0
    for row in EngagementMessage.objects.all():
        user = UserEngagementState.objects.get(user_id=row.user_id)
        assert row.claimed_at
        assert user.goodbye_expires_at == row.claimed_at + timedelta(hours=48)
