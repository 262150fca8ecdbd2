"""Erasing and purging as a database role with the privileges of docs/sql/operator_role.sql and no others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.test import override_settings
from django.utils import timezone

from engagement.models import EngagementMessage, EngagementStateTransition, UserProfile
from engagement.services.inbound_messages import receive_and_reply
from tests.acceptance.roles import is_allowed, role_of
from tests.factories import make_run
from tests.integration.delivery.sending import told_user
from tests.running import Outcome, connected_to, run_main

if TYPE_CHECKING:
    from collections.abc import Iterator

FORBIDDEN = (
    "UPDATE user_profiles SET whatsapp_jid = '5511900000000@s.whatsapp.net'",
    "UPDATE user_engagement_states SET state = 'active'",
    "INSERT INTO engagement_state_transitions DEFAULT VALUES",
    "UPDATE engagement_state_transitions SET to_state = 'active'",
    "UPDATE engagement_message_queue SET message_key = 'other'",
    "INSERT INTO engagement_message_queue DEFAULT VALUES",
    "UPDATE engagement_job_runs SET succeeded = 0",
    "DELETE FROM engagement_suppressed_addresses",
    "DELETE FROM django_admin_log",
    "SELECT * FROM engagement_api_tokens",
    "SELECT * FROM auth_user",
    "CREATE TABLE mine (id integer)",
)


@pytest.fixture
def url_of_role(onlooker: psycopg.Connection) -> Iterator[str]:
    with role_of(onlooker, "engagement_operator") as url:
        yield url


def run_as(url: str, *command: str) -> Outcome:
    with override_settings(ENGAGEMENT_SUPPRESSION_KEY="a long key of the tests"), connected_to(url):
        return run_main(*command)


def test_the_role_erases_and_purges(url_of_role: str) -> None:
    user, now = told_user(), timezone.now()
    receive_and_reply(user_id=user.user_id, text="1", received_at=now, now=now, message_id="wamid.A")
    make_run(errors=[{"user_id": str(user.user_id), "check_type": "x", "error": "y"}])
    erased = run_as(url_of_role, "erase_engagement_user", str(user.user_id), "--yes")
    assert (erased.code, erased.out.startswith("Erased: 1 profile, 1 state")) == (0, True), erased.err
    assert not UserProfile.objects.exists()
    old = now - timedelta(days=1_000)
    EngagementMessage.objects.update(created_at=old, scheduled_for=old, status="sent")
    EngagementStateTransition.objects.update(created_at=old)
    purged = run_as(url_of_role, "purge_engagement_history", "--older-than", "2y", "--yes", "--json")
    assert (purged.code, purged.json["rows"]["engagement_message_queue"]) == (0, 1), purged.err


def test_the_role_erases_under_row_level_security(onlooker: psycopg.Connection, url_of_role: str) -> None:
    user = told_user()
    tables = ("user_profiles", "user_engagement_states", "engagement_message_queue")
    for table in tables:
        onlooker.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    onlooker.commit()
    try:
        erased = run_as(url_of_role, "erase_engagement_user", str(user.user_id), "--yes")
        assert erased.out.startswith("Erased: 1 profile"), erased
    finally:
        for table in tables:
            onlooker.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        onlooker.commit()


def test_the_role_may_do_nothing_else(url_of_role: str) -> None:
    told_user()
    with psycopg.connect(url_of_role, autocommit=True) as operator:
        assert [statement for statement in FORBIDDEN if is_allowed(operator, statement)] == []
