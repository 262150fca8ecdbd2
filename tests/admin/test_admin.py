"""The admin shows everything and lets nothing be broken by hand. Real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.states import State
from tests.factories import make_run, make_user, make_users
from tests.running import run_job

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

MODELS = [UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage]

ALL_MODELS = [*MODELS, EngagementJobRun]


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:engagement_{model._meta.model_name}_changelist")


def page_url(row: Model) -> str:
    return reverse(f"admin:engagement_{row._meta.model_name}_change", args=[row.pk])


@pytest.fixture
def told_goodbye() -> UserEngagementState:
    user = make_user("silent")
    run_job()
    return user


@pytest.mark.usefixtures("told_goodbye")
@pytest.mark.parametrize("model", ALL_MODELS)
def test_list_and_page_are_shown(admin_client: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    assert admin_client.get(list_url(model)).status_code == 200
    assert admin_client.get(page_url(row)).status_code == 200


@pytest.mark.usefixtures("told_goodbye")
@pytest.mark.parametrize("model", ALL_MODELS)
def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    before = model._default_manager.values().get()
    name = f"admin:engagement_{model._meta.model_name}"
    assert admin_client.post(reverse(f"{name}_add"), {}).status_code == 403
    assert admin_client.post(page_url(row), {"state": "dormant"}).status_code == 403
    assert admin_client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
    admin_client.post(list_url(model), chosen)
    assert model._default_manager.values().get() == before


@pytest.mark.parametrize("model", MODELS)
def test_user_is_found_by_id_and_by_address(admin_client: Client, model: type[Model]) -> None:
    make_users(3, "silent")
    user = make_user("silent")
    run_job()
    for term in (str(user.user_id), str(user.user.whatsapp_jid)):
        response = admin_client.get(list_url(model), {"q": term})
        assert response.context["cl"].result_count == 1
        assert str(user.user_id) in response.content.decode()


def test_search_for_something_that_is_no_user_id_finds_nothing(admin_client: Client) -> None:
    make_user()
    for model in MODELS:
        response = admin_client.get(list_url(model), {"q": "somebody"})
        assert response.context["cl"].result_count == 0


def test_list_can_be_filtered_by_state(admin_client: Client) -> None:
    make_users(2)
    make_user("dormant")
    response = admin_client.get(list_url(UserEngagementState), {"state__exact": State.DORMANT})
    assert response.context["cl"].result_count == 1


@pytest.mark.parametrize("model", ALL_MODELS)
def test_list_costs_the_same_number_of_queries_at_10_and_at_100_rows(
    admin_client: Client, model: type[Model]
) -> None:
    counts = []
    for number in (10, 90):
        make_users(number, "silent")
        run_job()
        with CaptureQueriesContext(connection) as queries:
            admin_client.get(list_url(model))
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_run_whose_process_vanished_is_shown_as_such(admin_client: Client) -> None:
    make_run(status="running")
    assert "vanished" in admin_client.get(list_url(EngagementJobRun)).content.decode()


def test_anonymous_visitor_is_sent_to_the_login(client: Client) -> None:
    response = client.get(list_url(UserProfile))
    assert response.status_code == 302
    assert "/login/" in response.headers["Location"]


def test_staff_without_permission_sees_no_users(client: Client) -> None:
    staff = User.objects.create_user("staff", password="a", is_staff=True)  # noqa: S106
    client.force_login(staff)
    assert client.get(list_url(UserProfile)).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="view_userprofile"))
    assert client.get(list_url(UserProfile)).status_code == 200
