"""The list of messages and the page of one. Real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from engagement.models import EngagementMessage, MessageType
from tests.factories import NOW, make_user, queue_for
from tests.integration.admin.pages import list_url, page_url, rows_of, text_of
from tests.times import HOUR

if TYPE_CHECKING:
    from django.test import Client

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]

MESSAGES: Final = list_url(EngagementMessage)
NUMBER: Final = "5511999990042"


def failed(**fields: object) -> EngagementMessage:
    return queue_for(make_user(), MessageType.GOODBYE, status="failed", **fields)


def test_list_shows_status_reason_and_error(viewer: Client, support: Client) -> None:
    failed(outcome_reason="recipient", error_message=f"no such number {NUMBER}", error_code="131026")
    page = text_of(support, MESSAGES)
    assert f"the provider cannot deliver to this number: no such number {NUMBER}" in page
    assert '<a class="engagement-link" href="?error_code__exact=131026">code 131026</a>' in page
    assert "bg-red-100" in page
    page = text_of(viewer, MESSAGES)
    assert "the provider cannot deliver to this number: no such number [number]" in page
    assert NUMBER not in page


def test_messages_are_filtered_by_reason_and_by_code(viewer: Client) -> None:
    first = failed(outcome_reason="recipient", error_code="131026")
    second = failed(outcome_reason="platform", error_code="131000")
    assert rows_of(viewer, MESSAGES, outcome_reason="recipient") == [first]
    assert rows_of(viewer, MESSAGES, outcome_reason=["recipient", "platform"]) == [second, first]
    assert rows_of(viewer, MESSAGES, error_code__exact="131000") == [second]


def test_code_that_may_be_a_number_cannot_be_guessed(viewer: Client, support: Client) -> None:
    message = failed(error_code=NUMBER)
    assert viewer.get(MESSAGES, {"error_code__exact": NUMBER}).status_code == 400
    assert rows_of(support, MESSAGES, error_code__exact=NUMBER) == [message]


def test_newest_message_is_first_whatever_the_id(viewer: Client) -> None:
    times = [NOW - 2 * HOUR, NOW, NOW - HOUR]
    for at in times:
        failed(created_at=at)
    assert [row.created_at for row in rows_of(viewer, MESSAGES)] == sorted(times, reverse=True)


def test_message_that_is_due_first_is_first_among_the_pending(viewer: Client) -> None:
    held, due = (
        queue_for(make_user(), MessageType.WELCOME, scheduled_for=NOW - hours * HOUR, next_attempt_at=until)
        for hours, until in ((3, NOW + HOUR), (1, None))
    )
    assert rows_of(viewer, MESSAGES, status__exact="pending") == [due, held]


def test_page_is_told_in_words_with_technical_details_last(viewer: Client) -> None:
    message = failed(
        outcome_reason="recipient",
        error_code="131026",
        claimed_at=NOW - HOUR,
        retry_count=2,
        created_at=NOW - HOUR,
    )
    page = text_of(viewer, page_url(message))
    facts, _, details = page.partition("Technical details")
    for text in (
        "Failed (the provider cannot deliver to this number, code 131026)",
        "<dt>Why</dt><dd>The user was silent for long enough.</dd>",
        "<dt>Taken by the sender</dt><dd>2 March 2026, 05:00 UTC (1 hour ago)</dd>",
        "<dt>Failed attempts</dt><dd>2</dd>",
        "<dt>Reason</dt><dd>the provider cannot deliver to this number</dd>",
    ):
        assert text in facts
    assert message.idempotency_key not in facts
    assert message.idempotency_key in details
    assert "<dt>Sent</dt>" not in page
    assert "Destination jid" not in page


def test_unknown_message_is_said_on_a_page(viewer: Client) -> None:
    response = viewer.get(f"{MESSAGES}0195c0de-0000-7000-8000-000000000000/change/")
    assert response.status_code == 404
    assert "There is no message with this ID" in response.content.decode()
