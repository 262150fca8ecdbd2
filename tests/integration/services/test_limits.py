"""A service waits for a lock only as long as a batch does. Real connections."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest
from django.db import OperationalError, connection, transaction
from uuid_utils.compat import uuid7

from engagement.models import MessageType
from engagement.services.delivery.outcomes import accept
from engagement.services.inbound_messages import receive_message
from engagement.services.preferences import opt_out
from engagement.services.resilience import deadline
from engagement.services.resilience.retries import retry_own_transaction
from tests.database import another_connection, execute, on_every_move
from tests.factories import NOW, make_user, queue_for
from tests.times import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import Settings

    from engagement.models import UserEngagementState

pytestmark = pytest.mark.usefixtures("committed")

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def write(user: UserEngagementState) -> None:
    receive_message(user_id=user.user_id, text="oi", received_at=NOW, now=NOW)


def stop(user: UserEngagementState) -> None:
    opt_out(user_id=user.user_id, now=NOW)


@pytest.mark.parametrize("serve", [write, stop])
def test_locked_user_is_given_up_soon_and_unchanged(
    settings: Settings, serve: Callable[[UserEngagementState], None]
) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    user = make_user("goodbye_sent")
    with another_connection(autocommit=False) as other:
        for table in ("user_engagement_states", "user_profiles"):
            other.execute(f"SELECT FROM {table} WHERE user_id = %s FOR UPDATE", [user.user_id])
        started_at = monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            serve(user)
        # Not five attempts of a second each.
        assert monotonic() - started_at < 4
        other.rollback()
    user.refresh_from_db()
    assert (user.state, user.user.reengagement_opt_out) == ("goodbye_sent", False)


@pytest.fixture
def brief_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "MARGIN", timedelta())


@pytest.mark.usefixtures("brief_deadline")
def test_every_statement_and_commit_has_the_deadline_and_an_idle_connection_none() -> None:
    on_every_move("RETURN NEW;")
    execute(
        "CREATE OR REPLACE FUNCTION at_move() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;"
        "DROP TRIGGER at_move ON user_engagement_states;"
        "CREATE CONSTRAINT TRIGGER at_move AFTER UPDATE ON user_engagement_states"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_move()"
    )
    user = make_user()
    started_at = monotonic()
    with deadline.statement_deadline(SECOND / 4):
        for _ in range(2):
            with pytest.raises(OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(2)")
            connection.close()
            with pytest.raises(OperationalError), transaction.atomic():
                user.save()
            connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        sleep(0.5)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    # Four times a quarter of a second, not four times two.
    assert monotonic() - started_at < 8


def test_locked_message_whose_sending_is_reported_is_given_up_soon(settings: Settings) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    message = queue_for(make_user("goodbye_sent"), MessageType.GOODBYE, status="sending", attempt_id=uuid7())
    with another_connection(autocommit=False) as other:
        other.execute("SELECT FROM engagement_message_queue WHERE id = %s FOR UPDATE", [message.pk])
        with pytest.raises(OperationalError, match="lock timeout"):
            accept(message_id=message.pk, attempt_id=message.attempt_id, provider_message_id="x")
        other.rollback()


def limits() -> list[str]:
    with connection.cursor() as cursor:
        values = []
        for name in LIMITS:
            cursor.execute(f"SHOW {name}")
            values += cursor.fetchone()
        return values


def test_every_attempt_has_the_limits_and_they_end_with_its_transaction(settings: Settings) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 7
    settings.ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS = 60
    before = limits()
    seen = []

    @retry_own_transaction
    def deadlock_at_first() -> None:
        with transaction.atomic():
            seen.append(limits())
            if len(seen) == 1:
                with connection.cursor() as cursor:
                    cursor.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$")

    deadlock_at_first()
    assert seen == [["7s", "1min", "1min"]] * 2
    assert limits() == before
