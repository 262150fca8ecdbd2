"""Every page fits the window of desktops and of narrow phones: nothing is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from engagement.message_catalogue import GOODBYE
from engagement.models import EngagementJobRun, MessageType
from tests.browser.visitor import DESK, NARROW_PHONE, NARROWEST_PHONE, WIDE_DESK, fits, log_in, visitor
from tests.factories import make_run, make_user, queue_for
from tests.integration.admin.pages import MODELS, list_url, page_url
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen

PASSWORD: Final = "right horse"  # noqa: S105  of a test


@pytest.fixture
def pages(transactional_db: None) -> list[str]:
    """Lists and pages of rows with long values."""
    user = make_user("silent")
    run_job()
    queue_for(user, MessageType.WELCOME, status="failed", error_message="x" * 200)
    EngagementJobRun.objects.all().delete()
    make_run(errors=[{"user_id": str(user.user_id), "error": "x" * 200}])
    grace = User.objects.create_superuser("grace", password=PASSWORD)
    rows = [model._default_manager.all()[0] for model in MODELS]
    accounts = ["/admin/auth/user/", f"/admin/auth/user/{grace.pk}/change/"]
    texts = [
        reverse("admin:engagement_message_texts"),
        reverse("admin:engagement_message_text", args=[GOODBYE]),
    ]
    return ["/admin/", *map(list_url, MODELS), *map(page_url, rows), *accounts, *texts]


@pytest.mark.parametrize(
    "screen",
    [
        pytest.param(DESK, id="desk"),
        pytest.param(WIDE_DESK, id="wide"),
        pytest.param(NARROW_PHONE, id="narrow"),
        pytest.param(NARROWEST_PHONE, id="narrowest"),
    ],
)
def test_pages_fit_the_window(live_server: LiveServer, pages: list[str], screen: Screen) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace", password=PASSWORD)
        for url in pages:
            page.goto(f"{live_server.url}{url}")
            page.evaluate("document.fonts.ready")
            fits(page)
