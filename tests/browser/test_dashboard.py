"""The dashboard and the lists as they are seen: on a desktop and a phone, light and dark."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from engagement.groups import SUPPORT
from engagement.models import MessageType, SendingChannel
from engagement.services.state_machine import transition_state
from engagement.states import Trigger
from tests.browser.visitor import DESK, PASSWORD, PHONE, fits, log_in, on_each_screen, visitor
from tests.factories import make_run, make_user, queue_for

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen

LARGEST_CARD: Final = 200
"""Pixels. Fifty cards of this height are ten thousand pixels."""


@pytest.fixture
def _trouble(transactional_db: None) -> None:
    """A run of an hour ago, a pause, a message with an unknown outcome and one that failed; a reply."""
    now = timezone.now()
    make_run(now=now - timedelta(hours=1), succeeded=12_345, failed=0, skipped=6_789)
    user = make_user("goodbye_sent")
    transition_state(user_id=user.user_id, trigger=Trigger.GOODBYE_RESPONSE_1, now=now)
    queue_for(user, MessageType.WELCOME, status="unknown")
    queue_for(user, MessageType.WELCOME, status="failed", claimed_at=now, error_message="x" * 80)
    SendingChannel.objects.create(backend="console", paused_until=now + timedelta(hours=1))
    grace = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    grace.groups.add(Group.objects.get(name=SUPPORT))


@pytest.mark.usefixtures("_trouble")
@on_each_screen
def test_dashboard_says_what_needs_attention(live_server: LiveServer, screen: Screen) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace")
        status = page.locator(".engagement-status")
        assert status.get_by_role("heading").inner_text().endswith("3 things need attention")
        assert status.locator("li").first.inner_text().startswith("URGENT")
        assert status.locator("li code").first.inner_text() == "manage.py resume_sending --backend console"
        assert color_of(page, ".engagement-status h2") != color_of(page, ".engagement-problem")
        assert labels_of_the_axis_are_level(page)
        page.get_by_text("The numbers as a table").last.click()
        assert page.get_by_role("columnheader", name="reply 1: confused").is_visible()
        columns = page.locator(".engagement-runs th").all_inner_texts()
        assert columns == ["As of", "Status", "Moved", "Failed", "Skipped"]
        fits(page)
        status.get_by_role("link", name="Look at the chats").click()
        page.wait_for_url("**status__exact=unknown**")
        assert page.locator("#result_list tbody").count() == 1


@pytest.mark.usefixtures("_trouble")
def test_row_on_a_phone_is_a_small_card_that_begins_with_its_first_column(live_server: LiveServer) -> None:
    with visitor(PHONE) as page:
        log_in(page, live_server.url, name="grace")
        page.goto(f"{live_server.url}/admin/engagement/engagementmessage/")
        card = page.locator("#result_list .data-row").first
        box = card.bounding_box()
        assert box
        assert box["height"] < LARGEST_CARD
        tops = card.locator("> *").evaluate_all(
            "cells => cells.map((cell) => [cell.getBoundingClientRect().left, cell.dataset.label])"
        )
        first = min((left, label) for left, label in tops)
        assert first[1] != "Select record"
        assert not page.get_by_text("Select record").is_visible()


@pytest.mark.usefixtures("_trouble")
def test_button_of_an_action_is_called_apply(live_server: LiveServer) -> None:
    with visitor(DESK) as page:
        log_in(page, live_server.url, name="grace")
        page.goto(f"{live_server.url}/admin/engagement/engagementmessage/")
        page.locator("#result_list .action-select").first.check()
        page.locator("select[name=action]").select_option("download")
        page.get_by_role("button", name="Apply", exact=True).wait_for()
        assert page.get_by_role("button", name="Run", exact=True).count() == 0


def color_of(page: Page, selector: str) -> str:
    color: str = page.locator(selector).first.evaluate("(element) => getComputedStyle(element).color")
    return color


def labels_of_the_axis_are_level(page: Page) -> bool:
    """No chart has slanted labels."""
    level: bool = page.locator("canvas.chart").evaluate_all(
        "charts => charts.every((chart) => Chart.getChart(chart).scales.x.labelRotation === 0)"
    )
    return level
