"""A browser, and a list of the problems in its console."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, Request

# Chromium has no sandbox as root. The other flags stop its own requests.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

TIMEOUT_MS: Final = 15_000

PASSWORD: Final = "right horse"  # noqa: S105  of a test
"""Of every account in these tests."""


class Screen(NamedTuple):
    """The size and the colour scheme of a window."""

    width: int
    height: int
    color_scheme: str


DESK: Final = Screen(1360, 900, "light")
WIDE_DESK: Final = Screen(1440, 900, "light")
DARK_DESK: Final = Screen(1360, 900, "dark")
PHONE: Final = Screen(390, 844, "light")
DARK_PHONE: Final = Screen(390, 844, "dark")
NARROW_PHONE: Final = Screen(360, 740, "light")
NARROWEST_PHONE: Final = Screen(320, 568, "light")

on_each_screen = pytest.mark.parametrize(
    "screen", [pytest.param(DARK_DESK, id="dark-desk"), pytest.param(PHONE, id="light-phone")]
)
"""Both colour schemes and both layouts."""


@contextmanager
def visitor(screen: Screen, *, locale: str = "en-US") -> Iterator[Page]:
    """A new browser. Errors and warnings in its console and failed requests fail the test."""
    program = shutil.which("chromium")
    if not program:
        pytest.skip("chromium is missing; on Debian: apt-get install chromium")
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(
            viewport={"width": screen.width, "height": screen.height},
            color_scheme=screen.color_scheme,  # type: ignore[arg-type]  # a Literal
            locale=locale,
        )
        page.set_default_timeout(TIMEOUT_MS)
        _listen(page, problems)
        yield page
        browser.close()
    assert not problems, "\n".join(problems)


def log_in(page: Page, url: str, *, name: str) -> None:
    """Log in and wait for the dashboard."""
    page.goto(url)
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("#login-form button")
    # Not "networkidle", which waits half a second longer than the page.
    page.wait_for_url(lambda address: "/login/" not in address)


def fits(page: Page) -> None:
    """The page does not scroll sideways, and no cell of a list is cut off."""
    is_narrow = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert is_narrow, f"too wide: {page.url}"
    cut = page.locator("#result_list :is(td, th), .engagement-table :is(td, th)").evaluate_all(
        """cells => cells.filter((cell) => {
            if (!cell.checkVisibility()) return false;
            const around = cell.closest("table").parentElement.getBoundingClientRect();
            return cell.scrollWidth > cell.clientWidth + 1
                || cell.getBoundingClientRect().right > Math.min(around.right, innerWidth) + 1;
        }).map((cell) => cell.innerText)"""
    )
    assert not cut, f"cut off on {page.url}: {cut}"


def _listen(page: Page, problems: list[str]) -> None:
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.extend(_failures(request)))
    page.on(
        "response",
        lambda response: (
            problems.append(f"{response.url}: {response.status}") if response.status >= 400 else None
        ),
    )


def _failures(request: Request) -> list[str]:
    # The browser gives up a page whose answer is a file, and the icon of a page that is left meanwhile.
    may_be_given_up = request.is_navigation_request() or request.url.endswith("/icon.svg")
    is_given_up = may_be_given_up and request.failure == "net::ERR_ABORTED"
    return [] if is_given_up else [f"{request.url}: {request.failure}"]
