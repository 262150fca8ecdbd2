"""Filters of days, as each language writes them. Real requests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils.http import urlencode

from engagement.models import UserProfile
from tests.database import execute
from tests.factories import NOW
from tests.integration.admin.pages import content_of, export_url, list_url, rows_of, sentences, text_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

ISO: Final = "2026-03-02"
"""The day of NOW."""
AMERICAN: Final = "03/02/2026"
BRAZILIAN: Final = "02/03/2026"


@pytest.fixture(autouse=True)
def users() -> None:
    """One from the day, and one from each of the months around it."""
    for days in (0, -31, 31):
        execute(
            "INSERT INTO user_profiles (user_id, created_at) VALUES (gen_random_uuid(), %s)",
            NOW + timedelta(days=days),
        )


@pytest.mark.parametrize(
    ("language", "text", "in_form", "in_summary"),
    [
        ("en", ISO, ISO, "from 2 March 2026 to 2 March 2026"),
        ("en", AMERICAN, ISO, "from 2 March 2026 to 2 March 2026"),
        ("pt-BR", ISO, BRAZILIAN, "de 2 de março de 2026 até 2 de março de 2026"),
        ("pt-BR", BRAZILIAN, BRAZILIAN, "de 2 de março de 2026 até 2 de março de 2026"),
    ],
)
def test_day_is_read_as_the_language_writes_it(
    admin_user: User, language: str, text: str, in_form: str, in_summary: str
) -> None:
    client = Client(headers={"accept-language": language})
    client.force_login(admin_user)
    query = {"created_at_from": text, "created_at_to": f" {text} "}
    answer = client.get(list_url(UserProfile), query, follow=True)
    page = answer.content.decode()
    (row,) = answer.context["cl"].result_list
    assert in_summary in page
    form = page[page.index('id="filter-form"') :].partition("</form>")[0]
    assert form.count(f'value="{in_form}"') == 2
    file = content_of(client.post(f"{export_url(UserProfile)}?{urlencode(query)}"))
    assert file.count(f",{row.created_at.date()}") == file.count(",2026-") == 1


@pytest.mark.parametrize(("first", "second"), [("pt-BR", "en"), ("en", "pt-BR")])
def test_link_means_the_same_days_in_another_language(admin_user: User, first: str, second: str) -> None:
    here, there = (Client(headers={"accept-language": language}) for language in (first, second))
    for client in (here, there):
        client.force_login(admin_user)
    text = BRAZILIAN if first == "pt-BR" else AMERICAN
    query = {"created_at_from": text, "created_at_to": text, "reengagement_opt_out__exact": "0"}
    link = list_url(UserProfile) + here.get(list_url(UserProfile), query)["Location"]
    assert f"created_at_from={ISO}&created_at_to={ISO}&reengagement_opt_out__exact=0" in link
    (row,) = rows_of(here, link)
    assert rows_of(there, link) == [row]


@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_day_that_is_not_understood_exports_nothing(admin_user: User, language: str) -> None:
    client = Client(headers={"accept-language": language})
    client.force_login(admin_user)
    url, query = export_url(UserProfile), urlencode({"created_at_to": "13/13/2026"})
    answer = client.post(f"{url}?{query}", follow=True)
    assert answer.redirect_chain == [(f"../?{query}", 302)]
    (sentence,) = sentences(answer)
    assert "13/13/2026" in sentence
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("language", "text"), [("en", "20/11/2026"), ("pt-BR", "11/20/2026"), ("en", "soon")]
)
def test_text_that_is_no_day_leaves_out_no_row(admin_user: User, language: str, text: str) -> None:
    client = Client(headers={"accept-language": language})
    client.force_login(admin_user)
    assert len(rows_of(client, UserProfile, created_at_from=text)) == 3
    assert f"{text}.</p>" in text_of(client, list_url(UserProfile), created_at_from=text)
