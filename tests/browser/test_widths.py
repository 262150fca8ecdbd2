"""Every page fits the window of desktops and of narrow phones: nothing is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.visitor import DESK, NARROW_PHONE, NARROWEST_PHONE, WIDE_DESK, fits, log_in, visitor

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen


@pytest.mark.parametrize(
    ("screen", "resized"),
    [
        pytest.param(DESK, WIDE_DESK, id="desk"),
        pytest.param(NARROWEST_PHONE, NARROW_PHONE, id="phone"),
    ],
)
def test_pages_fit_the_window(
    live_server: LiveServer, pages: list[str], screen: Screen, resized: Screen
) -> None:
    with visitor(screen) as page:
        log_in(page, live_server.url, name="grace")
        for url in pages:
            page.goto(f"{live_server.url}{url}")
            page.evaluate("document.fonts.ready")
            fits(page)
            page.set_viewport_size({"width": resized.width, "height": resized.height})
            fits(page)
            page.set_viewport_size({"width": screen.width, "height": screen.height})
