"""axe-core, which checks pages by the WCAG, finds nothing serious on any kind of page, light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.browser.visitor import PHONE, WIDE_DESK, log_in, visitor
from tests.running import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

AXE: Final = PROJECT / "tests" / "fixtures" / "axe" / "axe.min.js"
FIND_VIOLATIONS: Final = """
    async () => {
        for (const animation of document.getAnimations()) animation.cancel();
        const { violations } = await axe.run(document, { resultTypes: ["violations"] });
        return violations
            .filter(({ impact }) => ["serious", "critical"].includes(impact))
            .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
    }
"""


def test_pages_have_no_serious_violations(live_server: LiveServer, pages: list[str]) -> None:
    found = {}
    with visitor(WIDE_DESK) as page:
        page.context.add_init_script(path=AXE)
        page.goto(f"{live_server.url}/admin/")
        found["login"] = violations(page)
        log_in(page, f"{live_server.url}/admin/", name="grace")
        for url in pages:
            page.goto(f"{live_server.url}{url}")
            found[url] = violations(page)
        page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
        page.emulate_media(color_scheme="dark")
        for url in pages:
            page.goto(f"{live_server.url}{url}")
            assert page.evaluate("document.documentElement.classList.contains('dark')")
            found[f"{url} on a dark phone"] = violations(page)
    assert {url: rules for url, rules in found.items() if rules} == {}


def violations(page: Page) -> list[str]:
    """What breaks a rule, each with the rule's name."""
    page.evaluate("document.fonts.ready")
    found: list[str] = page.evaluate(FIND_VIOLATIONS)
    return found
