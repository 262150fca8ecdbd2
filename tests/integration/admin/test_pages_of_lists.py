"""Pages of lists that filters and actions shorten. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementMessage, MessageStatus, MessageType, UserProfile
from tests.factories import make_user, make_users, queue_for
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import choose, list_url, rows_of, sentences, text_of

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

IS_PENDING = "status__exact=pending"


@pytest.fixture
def messages() -> list[EngagementMessage]:
    """Three pages of pending messages: the third has one row."""
    users = make_users(101)
    return [queue_for(user, MessageType.WELCOME) for user in users]


@pytest.mark.parametrize(("page", "rows"), [("2", 10), ("9", 10), ("99999999999999999999", 10), ("-1", 50)])
def test_page_beyond_the_end_is_the_last_one(viewer: Client, page: str, rows: int) -> None:
    fill_tables(60)
    assert len(rows_of(viewer, UserProfile, p=page)) == rows
    text = text_of(viewer, list_url(UserProfile), p=page)
    current = re.findall(r'text-primary-600">(\d)</span>', text)
    assert current == (["2"] if rows == 10 else ["1"])


def test_filter_begins_at_the_first_page(viewer: Client) -> None:
    fill_tables(60)
    page = text_of(viewer, list_url(UserProfile), p="2", e="1", o="-5")
    form = page[page.index('id="filter-form"') :].partition("</form>")[0]
    assert re.findall(r'type="hidden" name="(\w+)"', form) == ["o"]


def test_action_on_the_only_row_of_the_last_page_keeps_the_filter(
    support: Client, messages: list[EngagementMessage]
) -> None:
    (last,) = rows_of(support, EngagementMessage, p="3", status__exact="pending")
    query = f"?{IS_PENDING}&p=3"
    response = choose(support, EngagementMessage, "cancel", last, query=query, confirmed="yes")
    assert response.request["QUERY_STRING"] == query[1:]
    assert response.context["cl"].result_count == len(messages) - 1


@pytest.mark.usefixtures("messages")
def test_confirmed_action_is_done_though_its_page_is_gone(support: Client) -> None:
    (last,) = rows_of(support, EngagementMessage, p="3", status__exact="pending")
    other = rows_of(support, EngagementMessage, status__exact="pending")[0]
    choose(support, EngagementMessage, "cancel", other, confirmed="yes")
    query = f"?{IS_PENDING}&p=3"
    response = choose(support, EngagementMessage, "cancel", last, query=query, confirmed="yes")
    assert len(sentences(response)) == 1
    last.refresh_from_db()
    assert last.status == MessageStatus.CANCELLED


def test_row_that_has_left_the_list_is_reported(support: Client) -> None:
    gone = queue_for(make_user(), MessageType.WELCOME, status="cancelled")
    response = choose(support, EngagementMessage, "cancel", gone, query=f"?{IS_PENDING}&p=3", confirmed="yes")
    assert sentences(response) == ["Nothing was done: the selected rows are no longer in this list."]
