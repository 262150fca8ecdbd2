"""A failed message is queued again while others are at work on its user. Real connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from django.db import connections, transaction

from engagement.models import EngagementMessage, MessageType
from engagement.services.support import Retry, retry_message
from tests.database import another_connection, execute, wait_for_somebody_at_a_row
from tests.factories import NOW, TICK, make_user, queue_for

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def failed() -> EngagementMessage:
    """The goodbye of somebody who has an instant left to answer it."""
    user = make_user("goodbye_sent", goodbye_expires_at=NOW + TICK)
    return queue_for(user, MessageType.GOODBYE, status="failed", error_message="busy")


def retry_elsewhere(message_id: UUID) -> Retry:
    try:
        return retry_message(message_id=message_id, now=NOW)
    finally:
        connections.close_all()


def test_message_that_somebody_queues_at_the_same_moment_is_queued_once(failed: EngagementMessage) -> None:
    with another_connection() as other, ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert retry_message(message_id=failed.pk, now=NOW) is Retry.QUEUED
            second = pool.submit(retry_elsewhere, failed.pk)
            wait_for_somebody_at_a_row(other)
        assert second.result() is Retry.NOT_FAILED


def test_retry_does_not_wait_for_who_only_refers_to_the_profile(failed: EngagementMessage) -> None:
    with another_connection(autocommit=False) as other, transaction.atomic():
        # What PostgreSQL takes for the foreign key of a row that is being inserted.
        other.execute("SELECT FROM user_profiles WHERE user_id = %s FOR KEY SHARE", [failed.user_id])
        execute("SET LOCAL lock_timeout = '1s'")
        assert retry_message(message_id=failed.pk, now=NOW) is Retry.QUEUED
