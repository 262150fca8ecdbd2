"""Screenshots of the sample data for the documentation: `pytest tests/browser --screenshots`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Count, Q
from PIL import Image

from engagement.groups import SUPPORT
from engagement.models import UserProfile
from engagement.replay.demo import play_demonstration
from tests.browser.visitor import DARK_DESK, DESK, PASSWORD, PHONE, log_in, visitor
from tests.running import PROJECT

if TYPE_CHECKING:
    from uuid import UUID

    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen

PICTURES: Final = PROJECT / "docs" / "screenshots"
COLORS: Final = 128
"""Enough for these pages, with a third of the file size."""
SAMPLE: Final = PROJECT / "data" / "cdnow_activity.csv.gz"
LAST_RUN_AT: Final = datetime(1998, 7, 1, 6, tzinfo=UTC)
MORNING: Final = LAST_RUN_AT + timedelta(hours=2)


@pytest.fixture
def user_id(request: pytest.FixtureRequest, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A user who came back after a goodbye. The time is the last morning of the sample."""
    if not request.config.getoption("--screenshots"):
        pytest.skip("screenshots are taken with --screenshots only")
    play_demonstration(path=SAMPLE, as_of=LAST_RUN_AT, now=MORNING)
    grace = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    grace.groups.add(Group.objects.get(name=SUPPORT))
    came_back = Q(engagement_transitions__trigger="user_message")
    users = UserProfile.objects.filter(locale="en").annotate(
        returns=Count("engagement_transitions", filter=came_back), transitions=Count("engagement_transitions")
    )
    found: UUID = users.order_by("-returns", "-transitions", "pk").values_list("pk", flat=True)[0]
    monkeypatch.setattr("django.utils.timezone.now", lambda: MORNING)
    return found


@pytest.mark.parametrize(
    ("name", "screen"),
    [
        pytest.param("", DESK, id="desk"),
        pytest.param("-dark", DARK_DESK, id="dark"),
        pytest.param("-phone", PHONE, id="phone"),
    ],
)
def test_screenshots_are_taken(user_id: UUID, live_server: LiveServer, name: str, screen: Screen) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace")
        if screen is not PHONE:
            screenshot(page, f"dashboard{name}", whole=True)
        if screen is not DARK_DESK:
            page.goto(f"{live_server.url}/admin/engagement/userprofile/{user_id}/change/")
            screenshot(page, f"user{name}", whole=screen is DESK)
        if screen is DESK:
            page.goto(
                f"{live_server.url}/admin/engagement/userprofile/?engagement_state__state__exact=goodbye_sent"
            )
            screenshot(page, "states", whole=False)


def screenshot(page: Page, name: str, *, whole: bool) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    screen = page.viewport_size
    assert screen
    if whole:
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": screen["width"], "height": height})
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file)
    page.set_viewport_size(screen)
    with Image.open(file) as image:
        image.quantize(COLORS).save(file, optimize=True)
