"""Sending as a database role with the privileges of docs/sql/sender_role.sql and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from django.test import override_settings

from engagement.message_backends.base import Refused, Scope
from engagement.models import EngagementMessage, MessageStatus, SendingChannel, UserProfile
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.receipts import Receipt, ReceiptEffect, ReceiptKind, take_receipt
from tests.acceptance.deliveries import (
    CLOUD,
    Refusals,
    assert_at_most_once,
    backend_environment,
    queue_goodbyes,
    send_to_the_end,
)
from tests.acceptance.roles import is_allowed, role_of
from tests.running import connected_to, run_main
from tests.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.sandbox.server import WhatsAppSandbox

FORBIDDEN = (
    "UPDATE engagement_message_queue SET message_key = 'other'",
    "UPDATE engagement_message_queue SET message_params = '{}'",
    "UPDATE engagement_message_queue SET user_id = gen_random_uuid()",
    "UPDATE engagement_message_queue SET message_type = 'reply'",
    "UPDATE engagement_message_queue SET idempotency_key = 'other'",
    "UPDATE engagement_message_queue SET scheduled_for = now()",
    "INSERT INTO engagement_message_queue DEFAULT VALUES",
    "DELETE FROM engagement_message_queue",
    "TRUNCATE engagement_message_queue",
    "UPDATE user_profiles SET whatsapp_jid = '5511900000000@s.whatsapp.net'",
    "UPDATE user_profiles SET locale = 'en'",
    "DELETE FROM user_profiles",
    "UPDATE user_engagement_states SET state = 'active'",
    "UPDATE user_engagement_states SET goodbye_sent_at = now()",
    "UPDATE user_engagement_states SET last_activity_at = now()",
    "INSERT INTO engagement_state_transitions DEFAULT VALUES",
    "SELECT * FROM engagement_state_transitions",
    "UPDATE engagement_job_runs SET succeeded = 0",
    "INSERT INTO engagement_suppressed_addresses DEFAULT VALUES",
    "SELECT * FROM engagement_api_tokens",
    "SELECT * FROM engagement_inbound_messages",
    "DELETE FROM engagement_sending_channels",
    "SELECT * FROM auth_user",
    "SELECT * FROM django_session",
    "CREATE TABLE mine (id integer)",
    "SET ROLE postgres",
)


@pytest.fixture
def url_of_role(onlooker: psycopg.Connection) -> Iterator[str]:
    with role_of(onlooker, "engagement_sender") as url:
        yield url


def test_everything_about_sending_works_with_these_privileges(
    sandbox: WhatsAppSandbox, url_of_role: str
) -> None:
    queue_goodbyes(6)
    environment = backend_environment(sandbox)

    def run(*command: str) -> int:
        with override_settings(**environment), connected_to(url_of_role):
            outcome = run_main(*command)
        assert "Traceback" not in outcome.err, outcome.err
        assert "privilege" not in outcome.err, outcome.err
        return outcome.code

    assert run("pause_sending", "--reason", "test") == 0
    assert run("send_messages", "--json") == 5
    assert run("resume_sending") == 0
    # Not on WhatsApp; wants no more such messages; the template is paused.
    sandbox.respond = Refusals({2: 131026, 3: 131050, 4: 132015})
    outcome = send_to_the_end(sandbox, "--workers", "2", DATABASE_URL=url_of_role)
    assert outcome.code in {3, 5}, outcome
    assert UserProfile.objects.filter(reengagement_opt_out=True).count() == 1
    row = EngagementMessage.objects.filter(status=MessageStatus.SENT).first()
    assert row
    EngagementMessage.objects.filter(pk=row.pk).update(
        status=MessageStatus.SENDING, claim_expires_at=database_now() - HOUR
    )
    assert run("check_sending") == 1
    assert run("resolve_message", str(row.pk), "--arrived") == 0
    assert run("resume_sending") == 0
    assert run("send_messages", "--dry-run", "--json") == 0


def test_role_can_do_nothing_else(onlooker: psycopg.Connection, url_of_role: str) -> None:
    queue_goodbyes(2)
    before = list(EngagementMessage.objects.order_by("id").values())
    with psycopg.connect(url_of_role, autocommit=True) as sender:
        assert [statement for statement in FORBIDDEN if is_allowed(sender, statement)] == []
    assert list(EngagementMessage.objects.order_by("id").values()) == before


def test_the_assistant_may_mark_a_message_as_sent(
    sandbox: WhatsAppSandbox, onlooker: psycopg.Connection
) -> None:
    queue_goodbyes(3)
    with role_of(onlooker, "engagement_assistant") as url, psycopg.connect(url, autocommit=True) as assistant:
        done = assistant.execute(
            "UPDATE engagement_message_queue SET status = 'sent', claimed_at = now(), sent_at = now()"
        )
        assert done.rowcount == 3
        assert not is_allowed(assistant, "UPDATE engagement_message_queue SET message_key = 'other'")
    assert send_to_the_end(sandbox, ENGAGEMENT_MESSAGE_BACKEND=CLOUD).json["due"] == 0
    assert sandbox.messages == []


def test_the_assistant_may_take_a_receipt_that_pauses(onlooker: psycopg.Connection) -> None:
    queue_goodbyes(1)
    EngagementMessage.objects.update(status="sent", claimed_at=database_now(), backend="whatsapp_cloud")
    blocked = Refused(Scope.ACCOUNT, "131031")
    receipt = Receipt(
        kind=ReceiptKind.FAILED,
        occurred_at=database_now(),
        message_id=EngagementMessage.objects.get().id,
        refusal=blocked,
    )
    with role_of(onlooker, "engagement_assistant") as url, connected_to(url):
        assert take_receipt(receipt, now=database_now()) is ReceiptEffect.RECORDED
    assert SendingChannel.objects.get().paused_until


def test_delivery_by_the_role_is_at_most_once(sandbox: WhatsAppSandbox, url_of_role: str) -> None:
    queue_goodbyes(20)
    assert send_to_the_end(sandbox, DATABASE_URL=url_of_role).code == 0
    assert_at_most_once(sandbox, sent=20)
