"""A page needs the same number of statements with many rows as with few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from django.contrib.admin.models import LogEntry

from engagement.models import EngagementMessage, EngagementStateTransition, UserProfile
from tests.database import truncate_users
from tests.factories import make_user
from tests.integration.admin.many_rows import RUN_ID, fill_history_of, fill_tables
from tests.integration.admin.pages import MODELS, act_url, actions_url, cost_of, list_url, page_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

DASHBOARD: Final = "/admin/"


def a(model: type[Model]) -> Any:
    return model._default_manager.all()[0]


def search_by_number() -> str:
    jid = UserProfile.objects.exclude(whatsapp_jid=None)[0].whatsapp_jid
    assert jid
    return f"{list_url(UserProfile)}?q={jid[:8]}"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "dashboard": lambda: DASHBOARD,
    "confirmation for a user": lambda: act_url(a(UserProfile), "opt_out"),
    "confirmation for a message": lambda: act_url(a(EngagementMessage), "cancel"),
    "manual actions on a user": lambda: actions_url(a(UserProfile)),
    "search by id": lambda: f"{list_url(UserProfile)}?q={a(UserProfile).pk}",
    "search by number": search_by_number,
    "due users": lambda: f"{list_url(UserProfile)}?due=any",
    "users by last message": lambda: f"{list_url(UserProfile)}?o=-4",
    "users with a failed message": lambda: f"{list_url(UserProfile)}?message=failed",
    "transitions of a run": lambda: f"{list_url(EngagementStateTransition)}?run={RUN_ID}",
    "manual actions of the team": lambda: list_url(LogEntry),
}


def costs(client: Client) -> dict[str, int]:
    """How many statements each page takes, each list, and the page of a row of each."""
    urls = {name: url() for name, url in PAGES.items()}
    for model in MODELS:
        urls |= {f"list of {model.__name__}": list_url(model), model.__name__: page_url(a(model))}
    return {name: cost_of(client, url) for name, url in urls.items()}


def test_pages_cost_the_same_with_10_000_rows(support: Client) -> None:
    truncate_users()
    fill_tables(10)
    few = costs(support)
    fill_tables(9_990)
    assert costs(support) == few


def test_user_with_10_000_messages_costs_the_same(support: Client) -> None:
    user = make_user()
    fill_history_of(user.user_id, 2)
    few = cost_of(support, page_url(user.user))
    fill_history_of(user.user_id, 9_998)
    assert cost_of(support, page_url(user.user)) == few


def test_dashboard_is_cheap(support: Client) -> None:
    assert cost_of(support, DASHBOARD) <= 15
