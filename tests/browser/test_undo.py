"""An operator sees whom a run moved, and undoes it after a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, User

from engagement.groups import SUPPORT
from engagement.models import EngagementStateTransition
from engagement.services.support import bring_back
from tests.browser.visitor import PASSWORD, fits, log_in, on_each_screen, visitor
from tests.factories import NOW, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen


@pytest.fixture
def run(transactional_db: None) -> None:
    """A run that moved three users, of whom one has been marked as active since."""
    first, *_ = make_users(3, "silent")
    run_job()
    bring_back(user_id=first.user_id, performed_by="ada", now=NOW)
    grace = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    grace.groups.add(Group.objects.get(name=SUPPORT))


@pytest.mark.usefixtures("run")
@on_each_screen
def test_run_is_undone_after_a_preview(live_server: LiveServer, screen: Screen) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace")
        page.goto(f"{live_server.url}/admin/engagement/engagementjobrun/")
        list_the_moved_users(page)
        undo_the_run(page)
    undone = EngagementStateTransition.objects.filter(trigger="run_undone")
    assert [row.metadata["performed_by"] for row in undone] == ["grace", "grace"]


def list_the_moved_users(page: Page) -> None:
    fits(page)
    page.get_by_role("link", name="3", exact=True).click()
    page.wait_for_url("**?run=**")
    assert page.locator("#result_list .field-user_link a").count() == 3
    fits(page)
    page.get_by_text("Filtered by run").get_by_role("link").click()
    page.wait_for_load_state("networkidle")


def undo_the_run(page: Page) -> None:
    assert page.locator(".engagement-headline").inner_text().endswith("3 moved, 0 failed, 0 skipped")
    fits(page)
    page.get_by_role("link", name="Undo this run").click()
    page.wait_for_url("**/undo/")
    assert page.get_by_text("2 users go back to their state before the run.").is_visible()
    assert page.get_by_role("cell", name="Changed since the run").is_visible()
    assert page.get_by_role("button", name="Copy").is_visible()
    fits(page)
    page.get_by_role("button", name="Put 2 users back").click()
    page.wait_for_load_state("networkidle")
    assert page.get_by_text("2 users went back to their state before the run.").is_visible()
    assert page.get_by_text("2 users were put back by grace on").is_visible()
    fits(page)
