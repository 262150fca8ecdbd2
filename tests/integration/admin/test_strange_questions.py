"""What stands in the address of a page may be anything. Real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementMessage, MessageType
from tests.factories import make_run, make_user, queue_for
from tests.integration.admin.pages import MODELS, list_url, page_url

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

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
        ({"user__exact": "somebody"}, 302),
        ({"q": "\0"}, 200),
        ({"p": "\0"}, 200),
        ({"p": "9" * 30}, 200),
        ({"o": "\0"}, 200),
    ],
)
def test_strange_question_is_answered(viewer: Client, query: dict[str, str], code: int) -> None:
    queue_for(make_user(), MessageType.WELCOME)
    assert viewer.get(list_url(EngagementMessage), query).status_code == code


def test_last_day_of_the_calendar_leaves_nothing_out(viewer: Client) -> None:
    queue_for(make_user(), MessageType.WELCOME)
    response = viewer.get(list_url(EngagementMessage), {"created_at_to": "9999-12-31"})
    assert response.context["cl"].result_count == 1


@pytest.mark.parametrize(("page", "code"), [("1", 200), ("abc", 404), ("99", 404), ("-1", 404)])
def test_side_bar_is_searched_page_by_page(viewer: Client, page: str, code: int) -> None:
    assert viewer.get("/admin/search/", {"s": "us", "page": page}).status_code == code


@pytest.mark.parametrize("model", MODELS)
def test_choice_of_what_is_no_row_is_refused(viewer: Client, model: type[Model]) -> None:
    data = {"action": "download", "_selected_action": ["junk", "\0"]}
    assert viewer.post(list_url(model), data).status_code == 400


@pytest.mark.parametrize("term", ["\0", "5511\0", "somebody"])
def test_users_are_looked_up_by_what_is_nobody(admin_client: Client, term: str) -> None:
    model = {"app_label": "engagement", "model_name": "engagementmessage", "field_name": "user"}
    response = admin_client.get("/admin/autocomplete/", {**model, "term": term})
    assert response.status_code == 200
    assert response.json()["results"] == []


def test_rows_have_no_pages_elsewhere(viewer: Client) -> None:
    for key in ("1", "somebody", make_user().pk):
        assert viewer.get(f"/admin/r/1/{key}/").status_code == 404


@pytest.mark.parametrize("user_id", ["", "somebody", None])
def test_failure_of_who_is_no_user_has_no_link(viewer: Client, user_id: object) -> None:
    run = make_run(errors=[{"user_id": user_id, "error": "no such user"}])
    response = viewer.get(page_url(run))
    assert f"<p>{user_id} (): no such user</p>" in response.content.decode()
