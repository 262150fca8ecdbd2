"""A support person uses the admin on a desktop, in dark mode, and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from engagement.groups import SUPPORT
from engagement.models import EngagementStateTransition
from tests.browser.visitor import PASSWORD, fits, log_in, on_each_screen, visitor
from tests.factories import make_user, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen

READABLE: Final = 4.5
"""Contrast of small text (WCAG 2, 1.4.3)."""


@pytest.fixture
def users(transactional_db: None) -> None:
    """Three users with a goodbye, a dormant user, and Grace of support."""
    make_users(3, "silent")
    run_job(now=timezone.now())
    make_user("dormant", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    grace = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    grace.groups.add(Group.objects.get(name=SUPPORT))


@pytest.mark.usefixtures("users")
@on_each_screen
def test_support_finds_a_user_and_marks_them_as_active(live_server: LiveServer, screen: Screen) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace")
        read_the_dashboard(page, screen)
        filter_the_states(page, live_server.url)
        find_the_user(page, live_server.url)
        mark_as_active(page)
    assert EngagementStateTransition.objects.get(trigger="user_message").metadata["performed_by"] == "grace"


def read_the_dashboard(page: Page, screen: Screen) -> None:
    assert page.locator("a.engagement-tile", has_text="dormant").locator("strong").inner_text() == "1"
    assert page.locator(".engagement-tile", has_text="goodbyes due").is_visible()
    assert page.get_by_role("cell", name="succeeded").is_visible()
    assert page.evaluate("Chart.getChart(document.querySelector('canvas.chart')) !== undefined")
    assert contrast_of_chart(page) >= READABLE
    is_dark = page.evaluate("document.documentElement.classList.contains('dark')")
    assert is_dark == (screen.color_scheme == "dark")
    fits(page)


def filter_the_states(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/engagement/userprofile/")
    assert page.locator("#result_list tbody th a").count() == 4
    page.locator("a", has_text="Filters").click()
    page.locator("#changelist-filter label", has_text="dormant").click()
    page.locator("#changelist-filter button[type=submit]").click()
    page.wait_for_url("**state__exact=dormant**")
    assert page.locator("#result_list tbody th a").count() == 1
    page.get_by_role("link", name="Waiting for a reply").click()
    page.wait_for_url("**state__exact=goodbye_sent")
    assert page.locator("#result_list tbody th a").count() == 3
    fits(page)


def find_the_user(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/engagement/userprofile/")
    page.fill("#searchbar", "+55 11 99999-0042")
    page.press("#searchbar", "Enter")
    page.wait_for_url("**q=**")
    page.locator("#result_list tbody th a").click()
    page.wait_for_load_state("networkidle")
    assert page.locator(".engagement-headline").inner_text().startswith("Dormant, last message")
    assert page.get_by_text("5511999990042@s.whatsapp.net").is_visible()
    fits(page)


def mark_as_active(page: Page) -> None:
    page.get_by_role("link", name="Mark as active").click()
    page.wait_for_url("**/act/bring_back/")
    assert page.get_by_text("Your name will appear in the history.").is_visible()
    fits(page)
    page.locator("#confirm-action button", has_text="Mark as active").click()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text("Mark as active: marked as active.").is_visible()
    headline = page.locator(".engagement-headline").inner_text()
    assert headline.startswith("Active since")
    assert "last message less than a minute ago" in headline
    assert page.get_by_text("by grace").is_visible()


def contrast_of_chart(page: Page) -> float:
    """The contrast between the text of the chart and its background, computed as in the WCAG."""
    contrast: float = page.evaluate(
        """() => {
            const canvas = document.querySelector("canvas.chart");
            const brightness = (color) => {
                const context = new OffscreenCanvas(1, 1).getContext("2d");
                context.fillStyle = color;
                context.fillRect(0, 0, 1, 1);
                const [red, green, blue] = [...context.getImageData(0, 0, 1, 1).data]
                    .map((value) => value / 255)
                    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
                return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
            };
            const chart = Chart.getChart(canvas);
            const behind = brightness(getComputedStyle(canvas.closest(".bg-white")).backgroundColor);
            const words = [chart.options.scales.x.ticks.color, chart.legend.options.labels.color];
            return Math.min(...words.map(brightness).map(
                (own) => Math.max(own, behind) / Math.min(own, behind)
            ));
        }"""
    )
    return contrast
