"""Somebody else has the rows locked on which a person wants to act. Real requests, a second connection."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from engagement.admin import actions
from engagement.models import EngagementMessage, MessageStatus, MessageType
from tests.database import another_connection
from tests.factories import make_user, queue_for
from tests.integration.admin.pages import act_url, choose, levels, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from django.test import Client

BUSY = "left alone, because somebody else is at work on it: try again"


@pytest.fixture
def pending(committed: None) -> list[EngagementMessage]:
    user = make_user()
    return [queue_for(user, MessageType.WELCOME) for _ in range(4)]


@pytest.fixture
def sender(pending: Sequence[EngagementMessage]) -> Iterator[psycopg.Connection]:
    """Another program, in a transaction that does not end."""
    with another_connection(autocommit=False) as other:
        yield other
        other.rollback()


def send(sender: psycopg.Connection, *messages: EngagementMessage) -> None:
    """Lock messages, as a sender does that is at work on them."""
    sender.execute(
        "SELECT FROM engagement_message_queue WHERE id = ANY (%s) FOR UPDATE",
        [[message.pk for message in messages]],
    )


def test_locked_row_is_told_and_the_others_are_acted_on(
    support: Client,
    pending: list[EngagementMessage],
    sender: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "PATIENCE_FOR_ONE", timedelta(milliseconds=100))
    send(sender, pending[1])
    told = choose(support, EngagementMessage, "cancel", *pending, confirmed="yes")
    assert list(zip(levels(told), sentences(told), strict=True)) == [
        ("success", "Cancel message: cancelled (3)."),
        ("warning", f"Cancel message: {BUSY} (1)."),
    ]
    waiting = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    assert waiting.values_list("pk", flat=True).get() == pending[1].pk
    sender.rollback()
    told = support.post(act_url(pending[1], "cancel"), follow=True)
    assert sentences(told) == ["Cancel message: cancelled."]


def test_many_locked_rows_are_not_waited_for_one_after_the_other(
    support: Client,
    pending: list[EngagementMessage],
    sender: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "PATIENCE", timedelta(milliseconds=100))
    send(sender, *pending)
    started_at = monotonic()
    told = choose(support, EngagementMessage, "cancel", *pending, confirmed="yes")
    assert sentences(told) == [f"Cancel message: {BUSY} (4)."]
    assert monotonic() - started_at < actions.PATIENCE_FOR_ONE.total_seconds()
