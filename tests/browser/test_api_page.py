"""The page of the API's document: self-hosted, under the content security policy, and usable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User

from engagement.models import ApiScope
from engagement.services.api_tokens import valid_token
from tests.browser.visitor import DESK, PASSWORD, log_in, visitor
from tests.factories import NOW, make_user

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer


pytestmark = pytest.mark.django_db(transaction=True)


def test_an_administrator_makes_a_token_and_tries_it_on_the_page(live_server: LiveServer) -> None:
    user = make_user()
    User.objects.create_superuser("ada", password=PASSWORD)
    with visitor(DESK) as page:
        log_in(page, f"{live_server.url}/admin/", name="ada")
        page.goto(f"{live_server.url}/admin/engagement/apitoken/add/")
        page.fill("#id_client", "assistant")
        page.check(f'input[name="scopes"][value="{ApiScope.EXPLAIN}"]')
        page.click("#make-token button[type=submit]")
        secret = page.locator("#token").inner_text()

        page.goto(f"{live_server.url}/api/v1/docs")
        page.get_by_text("/api/v1/leases", exact=True).first.wait_for()
        page.get_by_role("button", name="Authorize").first.click()
        page.locator(".auth-container input").first.fill(secret)
        page.locator(".auth-btn-wrapper .authorize").first.click()
        page.locator(".close-modal").first.click()
        page.locator("#operations-explain-explain_user").click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("tr[data-param-name=user_id] input").fill(str(user.user_id))
        page.get_by_role("button", name="Execute").click()
        page.locator(".responses-table.live-responses-table").wait_for()
        assert str(user.user_id) in page.locator(".live-responses-table .highlight-code").first.inner_text()
    assert valid_token(secret, now=NOW)
