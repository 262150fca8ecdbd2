"""Support actions on rows that another program has locked. Real requests, a second connection."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from engagement.admin import action_views
from engagement.models import EngagementMessage, MessageStatus, MessageType
from tests.database import another_connection
from tests.factories import make_user, queue_for
from tests.integration.admin.pages import act_url, choose, reports, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from django.test import Client

BUSY = "Cancel this message: skipped because another change is in progress; try again"


@pytest.fixture
def pending(committed: None) -> list[EngagementMessage]:
    user = make_user()
    return [queue_for(user, MessageType.WELCOME) for _ in range(4)]


@pytest.fixture
def sender(pending: Sequence[EngagementMessage]) -> Iterator[psycopg.Connection]:
    """Another program in an open transaction."""
    with another_connection(autocommit=False) as other:
        yield other
        other.rollback()


def lock(sender: psycopg.Connection, *messages: EngagementMessage) -> None:
    sender.execute(
        "SELECT FROM engagement_message_queue WHERE id = ANY (%s) FOR UPDATE",
        [[message.pk for message in messages]],
    )


def test_locked_row_is_skipped_and_the_others_are_acted_on(
    support: Client,
    pending: list[EngagementMessage],
    sender: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(action_views, "ROW_LOCK_WAIT", timedelta(milliseconds=100))
    lock(sender, pending[1])
    response = choose(support, EngagementMessage, "cancel", *pending, confirmed="yes")
    assert reports(response) == [
        ("success", "Cancel this message: cancelled (3)."),
        ("warning", f"{BUSY} (1)."),
    ]
    waiting = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    assert waiting.values_list("pk", flat=True).get() == pending[1].pk
    sender.rollback()
    response = support.post(act_url(pending[1], "cancel"), follow=True)
    assert sentences(response) == ["Cancel this message: cancelled."]


def test_many_locked_rows_share_one_wait(
    support: Client,
    pending: list[EngagementMessage],
    sender: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(action_views, "TOTAL_LOCK_WAIT", timedelta(milliseconds=100))
    lock(sender, *pending)
    started_at = monotonic()
    response = choose(support, EngagementMessage, "cancel", *pending, confirmed="yes")
    assert sentences(response) == [f"{BUSY} (4)."]
    assert monotonic() - started_at < action_views.ROW_LOCK_WAIT.total_seconds()
