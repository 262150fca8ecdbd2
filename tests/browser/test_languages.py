"""The admin in Portuguese: the browser's language, the preferences of the account, names that scripts add."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import User

from engagement.models import EngagementJobRun, EngagementMessage, EngagementStateTransition, UserProfile
from tests.browser.visitor import DESK, PASSWORD, fits, log_in, on_each_screen, visitor
from tests.factories import make_user, make_users
from tests.integration.admin.pages import list_url, page_url
from tests.running import run_job

if TYPE_CHECKING:
    from datetime import date

    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from tests.browser.visitor import Screen

LISTS: Final = (UserProfile, EngagementStateTransition, EngagementMessage, EngagementJobRun)


@pytest.fixture
def users(transactional_db: None) -> None:
    """Users with a goodbye, and an administrator."""
    make_users(3, "silent")
    run_job()
    make_user("dormant")
    User.objects.create_superuser("boss", password=PASSWORD)


@pytest.mark.usefixtures("users")
@on_each_screen
def test_pages_fit_in_portuguese(live_server: LiveServer, screen: Screen) -> None:
    urls = [*map(list_url, LISTS), *(page_url(model._default_manager.all()[0]) for model in LISTS)]
    with visitor(screen, locale="pt-BR") as page:
        log_in(page, live_server.url, name="boss")
        assert page.locator("html").get_attribute("lang") == "pt-br"
        for url in ("/admin/", *urls):
            page.goto(live_server.url + url)
            if url == "/admin/":
                fits(page)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), url


@pytest.mark.usefixtures("users")
def test_account_chooses_its_language_and_its_time_zone(live_server: LiveServer) -> None:
    url = page_url(EngagementStateTransition.objects.all()[0])
    with visitor(DESK, locale="pt-BR") as page:
        log_in(page, live_server.url, name="boss")
        assert page.get_by_role("button", name="Barra lateral").count()
        save_preferences(page, live_server.url, language="en", time_zone="America/Sao_Paulo")
        assert page.get_by_text("Your preferences have been saved.").is_visible()
        assert page.get_by_role("button", name="Side bar").count()
        page.goto(live_server.url + url)
        times = page.locator("time")
        assert "UTC" in (times.first.get_attribute("title") or "")
        assert "UTC" not in times.first.inner_text()


def save_preferences(page: Page, url: str, *, language: str, time_zone: str) -> None:
    page.goto(f"{url}/admin/preferences/")
    page.select_option("#id_language", language)
    page.select_option("#id_time_zone", time_zone)
    page.locator("#preferences button[type=submit]").click()
    page.wait_for_load_state("networkidle")


@pytest.mark.usefixtures("users")
def test_day_is_chosen_as_the_language_writes_it(live_server: LiveServer) -> None:
    with visitor(DESK, locale="pt-BR") as page:
        log_in(page, live_server.url, name="boss")
        page.goto(live_server.url + list_url(EngagementStateTransition))
        for link in ("Hoje", "Ontem"):
            day = choose_day(page, link)
            page.wait_for_url(re.compile(rf"[?&]created_at_to={day}$"))
            summary = page.locator(".engagement-note.engagement-above")
            assert re.search(rf": até {day.day} de \w+ de {day.year}\.$", summary.inner_text())
            assert page.locator("#id_created_at_to").input_value() == f"{day:%d/%m/%Y}"


def choose_day(page: Page, link: str) -> date:
    """Choose the last day of a list with the calendar of its filter. Returns the day that it wrote."""
    page.get_by_role("button", name="Filtros").click()
    page.locator("#id_created_at_to + .datetimeshortcuts a").last.click()
    page.locator(".calendarbox:visible").get_by_role("link", name=link).click()
    text = page.locator("#id_created_at_to").input_value()
    page.get_by_role("button", name="Aplicar filtros").click()
    return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007  a day
