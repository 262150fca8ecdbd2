"""The admin can be used with the keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import Group, User

from engagement.groups import SUPPORT
from tests.browser.visitor import DESK, PASSWORD, PHONE, log_in, visitor
from tests.factories import make_user

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

FAR: Final = 60
"""More keys than a page has elements."""


@pytest.fixture
def users(transactional_db: None) -> None:
    """A dormant user, an active user, and Grace of support."""
    make_user("dormant")
    make_user()
    grace = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    grace.groups.add(Group.objects.get(name=SUPPORT))


def focused(page: Page) -> str:
    """The name of the focused element."""
    name: str = page.evaluate(
        """() => {
            const element = document.activeElement;
            return element === document.body ? "" : element.ariaLabel ?? element.innerText;
        }"""
    )
    return name


def tab_to(page: Page, name: str) -> None:
    """Press Tab until an element with this name has the focus."""
    for _ in range(FAR):
        page.keyboard.press("Tab")
        if name in focused(page):
            return
    pytest.fail(f"{name} cannot be reached with Tab")


@pytest.mark.usefixtures("users")
def test_list_is_filtered_with_the_keyboard(live_server: LiveServer) -> None:
    with visitor(DESK) as page:
        log_in(page, live_server.url, name="grace")
        page.goto(f"{live_server.url}/admin/engagement/userprofile/")
        page.focus("#searchbar")
        tab_to(page, "Filters")
        page.keyboard.press("Enter")
        page.wait_for_function("document.activeElement.closest('#changelist-filter') !== null")
        while page.evaluate("document.activeElement.value") != "dormant":
            page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        page.wait_for_url("**state__exact=dormant**")
        assert page.locator("#result_list tbody th a").count() == 1
        log_out(page)


@pytest.mark.usefixtures("users")
def test_side_bar_is_reached_with_the_keyboard_on_a_phone(live_server: LiveServer) -> None:
    with visitor(PHONE) as page:
        log_in(page, live_server.url, name="grace")
        tab_to(page, "Side bar")
        page.keyboard.press("Space")
        page.wait_for_function("document.activeElement.closest('#nav-sidebar') !== null")
        log_out(page)


def log_out(page: Page) -> None:
    """Use the menu in the side bar."""
    page.wait_for_load_state("networkidle")
    tab_to(page, "grace")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.innerText.includes('Light')")
    tab_to(page, "Log out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/logout/")
