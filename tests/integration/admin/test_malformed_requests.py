"""URLs and forms may have any content. Real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib import admin

from engagement.models import EngagementMessage, MessageType, SendingChannel
from engagement.services.api_tokens import make_token
from engagement.services.delivery.channels import pause_sending
from tests.factories import NOW, make_user, queue_for
from tests.integration.admin.pages import MODELS, list_url, rows_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"created_at_from": "9999-12-31"}, 200),
        ({"created_at_to": "9999-12-31"}, 200),
        ({"created_at_to": "0001-01-01"}, 200),
        ({"created_at_to": "\0"}, 400),
        ({"status__exact": "\0"}, 400),
        ({"status__exact": "nothing"}, 200),
        ({"user__exact": "\0"}, 400),
        ({"user__exact": "anna"}, 302),
        ({"q": "\0"}, 200),
        ({"p": "\0"}, 200),
        ({"p": "9" * 30}, 200),
        ({"o": "\0"}, 200),
    ],
)
def test_list_answers_any_query(viewer: Client, query: dict[str, str], code: int) -> None:
    queue_for(make_user(), MessageType.WELCOME)
    assert viewer.get(list_url(EngagementMessage), query).status_code == code


def test_every_list_answers_a_search(admin_client: Client) -> None:
    make_token(client="assistant", scopes=["send"], now=NOW)
    pause_sending(backend="console", until=NOW, reason="test", now=NOW)
    for model in admin.site._registry:
        for term in ("x", str(make_user().user_id)):
            response = admin_client.get(list_url(model), {"q": term}, follow=True)
            assert response.status_code == 200, model
    assert len(rows_of(admin_client, SendingChannel, q="x")) == 1


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"created_at_from": "0001-01-01"}, 1),
        ({"created_at_to": "0001-01-01"}, 0),
        ({"created_at_from": "9999-12-31"}, 0),
        ({"created_at_to": "9999-12-30"}, 1),
    ],
)
def test_ends_of_the_calendar_are_days_in_any_time_zone(
    viewer: Client, settings: Settings, zone: str, query: dict[str, str], found: int
) -> None:
    settings.ENGAGEMENT_STAFF_TIME_ZONE = zone
    queue_for(make_user(), MessageType.WELCOME)
    assert len(rows_of(viewer, EngagementMessage, **query)) == found


def test_filter_to_the_last_day_of_the_calendar_excludes_nothing(viewer: Client) -> None:
    queue_for(make_user(), MessageType.WELCOME)
    assert len(rows_of(viewer, EngagementMessage, created_at_to="9999-12-31")) == 1


@pytest.mark.parametrize(("page", "code"), [("1", 200), ("abc", 404), ("99", 404), ("-1", 404)])
def test_search_of_the_side_bar_has_pages(viewer: Client, page: str, code: int) -> None:
    assert viewer.get("/admin/search/", {"s": "us", "page": page}).status_code == code


@pytest.mark.parametrize("model", MODELS)
def test_invalid_selection_is_refused(viewer: Client, model: type[Model]) -> None:
    data = {"action": "download", "_selected_action": ["junk", "\0"]}
    assert viewer.post(list_url(model), data).status_code == 400


@pytest.mark.parametrize("term", ["\0", "5511\0", "anna"])
def test_autocomplete_finds_nothing_for_an_invalid_term(admin_client: Client, term: str) -> None:
    model = {"app_label": "engagement", "model_name": "engagementmessage", "field_name": "user"}
    response = admin_client.get("/admin/autocomplete/", {**model, "term": term})
    assert response.status_code == 200
    assert response.json()["results"] == []


def test_rows_have_no_pages_on_the_site(viewer: Client) -> None:
    for key in ("1", "anna", make_user().pk):
        assert viewer.get(f"/admin/r/1/{key}/").status_code == 404
