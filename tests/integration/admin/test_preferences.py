"""The language and the time zone of an account, and of a browser without one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from freezegun import freeze_time

from engagement.conf import staff_time_zone
from engagement.models import EngagementMessage, EngagementStateTransition, UserProfile
from tests.factories import NOW, make_user
from tests.integration.admin.conftest import logged_in
from tests.integration.admin.pages import list_url, page_url, rows_of, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

URL = "/admin/preferences/"
PORTUGUESE = {"accept-language": "pt-BR,pt;q=0.9,en;q=0.5"}
IN_BRAZIL = {"language": "pt-br", "time_zone": "America/Sao_Paulo"}


def save(client: Client, **preferences: str) -> Any:
    return client.post(URL, preferences, follow=True)


def test_language_is_that_of_the_browser_without_an_account() -> None:
    login = reverse("admin:login")
    assert "Entrar" in Client().get(login, headers=PORTUGUESE).content.decode()
    assert "Log in" in Client().get(login).content.decode()
    assert "Log in" in Client().get(login, headers={"accept-language": "fr"}).content.decode()


def test_language_of_the_account_beats_that_of_the_browser(support: Client) -> None:
    save(support, language="en")
    response = support.get("/admin/", headers=PORTUGUESE)
    assert response["Content-Language"] == "en"
    assert {"Accept-Language", "Cookie"} <= set(response["Vary"].split(", "))


def test_preferences_survive_a_log_out() -> None:
    account, client = logged_in("ada")
    assert "Suas preferências foram salvas." in save(client, **IN_BRAZIL).content.decode()
    client.logout()
    client.force_login(account)
    shown = text_of(client, URL)
    assert '<option value="pt-br" selected>' in shown
    assert '<option value="America/Sao_Paulo" selected>' in shown
    assert '<html lang="pt-br"' in shown


def test_preferences_are_those_of_one_account() -> None:
    _, ada = logged_in("ada")
    _, grace = logged_in("grace")
    save(ada, **IN_BRAZIL)
    assert '<html lang="en"' in text_of(grace, URL)
    assert '<html lang="pt-br"' in text_of(ada, URL)


def test_empty_preferences_mean_the_defaults(support: Client) -> None:
    save(support, **IN_BRAZIL)
    save(support, language="", time_zone="")
    assert '<html lang="en"' in text_of(support, URL)


@pytest.mark.parametrize("wrong", [{"language": "xx"}, {"time_zone": "Mars/Olympus"}])
def test_unknown_preference_is_refused(support: Client, wrong: dict[str, str]) -> None:
    assert "Select a valid choice" in save(support, **wrong).content.decode()


def test_preferences_are_linked_from_the_menu(support: Client) -> None:
    assert f'href="{URL}"' in text_of(support, "/admin/")


def test_preferences_need_a_staff_account() -> None:
    assert Client().get(URL).status_code == 302


@freeze_time(NOW)
def test_times_are_in_the_zone_of_the_account_with_utc_in_the_tooltip(support: Client) -> None:
    user = make_user("dormant", last_activity_at=NOW).user
    save(support, language="en", time_zone="America/Sao_Paulo")
    html = support.get(page_url(user)).content.decode()
    assert 'title="2 March 2026, 06:00 UTC">2 March 2026, 03:00</time>' in html
    save(support, language="pt-br", time_zone="America/Sao_Paulo")
    html = support.get(page_url(user)).content.decode()
    assert 'title="2 de março de 2026, 06:00 UTC">2 de março de 2026, 03:00</time>' in html


@freeze_time(NOW)
def test_days_are_those_of_the_account(support: Client) -> None:
    """At 01:00 UTC it is still the day before in Brazil."""
    make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(created_at=NOW.replace(hour=1))
    found = {"created_at_from": "2026-03-01", "created_at_to": "2026-03-01"}
    assert len(rows_of(support, EngagementStateTransition, **found)) == 0
    save(support, **IN_BRAZIL)
    assert len(rows_of(support, EngagementStateTransition, **found)) == 1


@pytest.mark.parametrize(("hour", "found"), [(2, 0), (3, 1)])
def test_day_without_a_midnight_begins_with_its_first_instant(support: Client, hour: int, found: int) -> None:
    """The clocks of Brazil went from 00:00, 03:00 UTC, to 01:00."""
    make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(created_at=datetime(2018, 11, 4, hour, 30, tzinfo=UTC))
    save(support, **IN_BRAZIL)
    assert len(rows_of(support, EngagementStateTransition, created_at_from="2018-11-04")) == found


def test_today_is_the_day_of_the_account(support: Client) -> None:
    save(support, **IN_BRAZIL)
    with freeze_time(NOW.replace(hour=1)):
        assert "?action_time_from=2026-03-01" in text_of(support, "/admin/admin/logentry/")


@freeze_time(NOW)
def test_default_time_zone_is_a_setting(support: Client, settings: Settings) -> None:
    settings.ENGAGEMENT_STAFF_TIME_ZONE = "Asia/Tokyo"
    user = make_user("dormant", last_activity_at=NOW).user
    assert ">2 March 2026, 15:00</time>" in support.get(page_url(user)).content.decode()


def test_wrong_default_time_zone_is_found_by_check(settings: Settings) -> None:
    settings.ENGAGEMENT_STAFF_TIME_ZONE = "Mars/Olympus"
    with pytest.raises(
        ImproperlyConfigured, match="ENGAGEMENT_STAFF_TIME_ZONE must be the name of a time zone"
    ):
        staff_time_zone()


@pytest.mark.parametrize(
    ("locale", "text"), [("en", "Just reply with 1, 2 or 3"), ("pt-BR", "É só responder")]
)
@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_message_is_in_the_language_of_its_user(
    support: Client, language: str, locale: str, text: str
) -> None:
    user = make_user("silent", user__locale=locale).user
    run_job()
    save(support, language=language)
    assert text in text_of(support, page_url(user))
    assert text in text_of(support, page_url(EngagementMessage.objects.get()))


def test_job_queues_the_same_whatever_the_language() -> None:
    for number, language in enumerate(["en", "pt-br"]):
        user = make_user("silent", user__locale="en").user
        with translation.override(language), timezone.override("Asia/Tokyo"):
            call_command("run_engagement_daily", "--now", NOW.isoformat(), "--workers", "1")
        message = EngagementMessage.objects.get(user=user)
        assert (message.message_key, message.message_params) == ("engagement.goodbye.self_select", {})
        assert (message.scheduled_for, message.destination) == (NOW, "individual"), number


def test_command_answers_in_english_whatever_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    user = make_user("dormant").user
    with translation.override("pt-br"):
        call_command("explain_engagement", str(user.pk))
    assert "No next step: only a message from the user ends this state." in capsys.readouterr().out


def test_api_answers_in_english_whatever_the_browser_says() -> None:
    answers = [Client().get("/api/v1/messages", headers=headers).content for headers in ({}, PORTUGUESE)]
    Client().get("/admin/login/", headers=PORTUGUESE)
    answers.append(Client().get("/api/v1/messages").content)
    assert len(set(answers)) == 1
    assert translation.get_language() == "en"


def test_search_finds_nothing_in_portuguese(support: Client) -> None:
    save(support, language="pt-br")
    assert "Nenhum usuário corresponde." in text_of(support, list_url(UserProfile), q="nobody")


def test_account_of_preferences_can_be_deleted() -> None:
    account, client = logged_in("ada")
    save(client, **IN_BRAZIL)
    account.delete()
    assert not User.objects.exists()
