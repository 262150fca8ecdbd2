"""The lists show everything and let nothing be broken by hand. Real requests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from freezegun import freeze_time

from engagement.admin import paginator
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.job_runs import VANISHED_AFTER
from tests.database import execute
from tests.factories import NOW, TICK, make_run, make_user, make_users, queue_for
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import MODELS, OF_USERS, choose, cost_of, list_url, page_url, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def told_goodbye() -> UserEngagementState:
    user = make_user("silent")
    run_job()
    return user


def found(client: Client, model: type[Model], **query: Any) -> int:
    response = client.get(list_url(model), query)
    assert response.status_code == 200
    count: int = response.context["cl"].result_count
    return count


@pytest.mark.usefixtures("told_goodbye")
@pytest.mark.parametrize("model", MODELS)
def test_list_and_page_are_shown(viewer: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    text_of(viewer, list_url(model))
    assert "/history/" not in text_of(viewer, page_url(row))


@pytest.mark.usefixtures("told_goodbye")
@pytest.mark.parametrize("model", MODELS)
def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    before = model._default_manager.values().get()
    address = page_url(row).removesuffix("change/")
    assert admin_client.post(f"{list_url(model)}add/", {}).status_code == 403
    assert admin_client.post(page_url(row), {"state": "dormant"}).status_code == 403
    assert admin_client.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    choose(admin_client, model, "delete_selected", row, post="yes")
    assert model._default_manager.values().get() == before


@pytest.mark.parametrize("model", OF_USERS)
def test_user_is_found_by_id_and_by_the_beginning_of_their_address(
    support: Client, model: type[Model]
) -> None:
    make_users(3, "silent")
    make_user("silent", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    user = make_user("silent", user__whatsapp_jid="5521999990042@s.whatsapp.net")
    run_job()
    terms = (str(user.user_id), str(user.user.whatsapp_jid), "5521", " +55 (21) 99999-0042 ")
    for term in terms:
        response = support.get(list_url(model), {"q": term})
        assert response.context["cl"].result_count == 1, term
        assert str(user.user_id) in response.content.decode()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("term", ["somebody", "+", "%", "00000000-0000-0000-0000-000000000000"])
def test_search_for_nobody_finds_nothing(support: Client, model: type[Model], term: str) -> None:
    make_user("silent")
    run_job()
    assert found(support, model, q=term) == 0


@pytest.mark.parametrize("model", [UserEngagementState, EngagementStateTransition, EngagementMessage])
def test_row_of_a_user_is_found_by_the_id_that_its_page_shows(viewer: Client, model: type[Model]) -> None:
    make_users(2, "silent")
    run_job()
    row = model._default_manager.all()[0]
    assert f">{row.pk}</div>" in text_of(viewer, page_url(row))
    response = viewer.get(list_url(model), {"q": f" {row.pk} "})
    assert list(response.context["cl"].result_list) == [row]
    assert f"or {model._meta.verbose_name} id" in response.content.decode()


def test_search_by_id_keeps_to_the_filters(viewer: Client) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, status="sent")
    assert found(viewer, EngagementMessage, q=str(message.pk), status__exact="sent") == 1
    assert found(viewer, EngagementMessage, q=str(message.pk), status__exact="failed") == 0


def test_run_is_found_by_its_id(viewer: Client) -> None:
    make_run()
    run = make_run()
    assert found(viewer, EngagementJobRun, q=str(run.job_id)) == 1


def test_states_are_filtered_by_state(viewer: Client) -> None:
    make_users(2)
    make_user("dormant")
    make_user("help_flow")
    assert found(viewer, UserEngagementState, state__exact="dormant") == 1
    assert found(viewer, UserEngagementState, state__exact=["dormant", "help_flow"]) == 2


@freeze_time(NOW)
def test_states_are_filtered_by_the_check_that_would_move_their_users(support: Client) -> None:
    silent, _ = make_users(2, "silent")
    make_user("goodbye_sent")
    assert found(support, UserEngagementState, due="inactivity_14d") == 2
    assert found(support, UserEngagementState, due="inactivity_14d", q=str(silent.user_id)) == 1
    assert found(support, UserEngagementState, due="inactivity_14d", state__exact="dormant") == 0
    assert found(support, UserEngagementState, due="nothing") == 3


def test_transitions_are_filtered_by_trigger_and_day(viewer: Client) -> None:
    make_user("silent")
    make_user("goodbye_sent")
    run_job()
    day = str(NOW.date())
    assert found(viewer, EngagementStateTransition, trigger__exact="goodbye_timeout") == 1
    assert found(viewer, EngagementStateTransition, created_at_from=day, created_at_to=day) == 2
    next_day = str(NOW.date() + timedelta(days=1))
    assert found(viewer, EngagementStateTransition, created_at_from=next_day) == 0
    assert found(viewer, EngagementStateTransition, created_at_from="2026-02-31", created_at_to="soon") == 2


def test_messages_are_filtered_by_status_and_type(viewer: Client) -> None:
    user = make_user()
    queue_for(user, MessageType.WELCOME, status="failed")
    queue_for(user, MessageType.GOODBYE)
    assert found(viewer, EngagementMessage, status__exact="failed") == 1
    assert found(viewer, EngagementMessage, message_type__exact="goodbye") == 1


def test_users_are_filtered_by_opt_out(viewer: Client) -> None:
    make_users(2)
    make_user(user__reengagement_opt_out=True)
    assert found(viewer, UserProfile, reengagement_opt_out__exact="1") == 1


def test_runs_are_filtered_by_status_and_check(viewer: Client) -> None:
    make_run()
    make_run(status="failed", checks={"goodbye_timeout": {}})
    assert found(viewer, EngagementJobRun, status__exact="failed") == 1
    assert found(viewer, EngagementJobRun, check="inactivity_14d") == 1
    assert found(viewer, EngagementJobRun, check=["inactivity_14d", "goodbye_timeout"]) == 2


def test_users_who_failed_in_a_run_are_linked(viewer: Client) -> None:
    user = make_user()
    execute("UPDATE user_engagement_states SET last_activity_at = '-infinity'")
    run_job()
    page = text_of(viewer, page_url(EngagementJobRun.objects.get()))
    assert f'href="{page_url(user.user)}">{user.user_id}</a> (inactivity_14d): ' in page


def test_run_whose_process_vanished_is_shown_as_such(viewer: Client) -> None:
    run = make_run(status="running")
    for page in (list_url(EngagementJobRun), page_url(run)):
        assert "vanished" in text_of(viewer, page)
    assert "running" not in text_of(viewer, page_url(run))


@freeze_time(NOW)
def test_runs_that_vanished_are_filtered_apart_from_those_that_work(viewer: Client) -> None:
    works = make_run(status="running", last_seen_at=NOW - VANISHED_AFTER)
    vanished = make_run(status="running", last_seen_at=NOW - VANISHED_AFTER - TICK)
    failed = make_run(status="failed")
    for outcomes, runs in (
        (["running"], {works}),
        (["vanished"], {vanished}),
        (["failed", "vanished"], {failed, vanished}),
        (["running", "vanished"], {works, vanished}),
        ([], {works, vanished, failed}),
    ):
        response = viewer.get(list_url(EngagementJobRun), {"status__exact": outcomes})
        assert set(response.context["cl"].result_list) == runs


def test_list_of_runs_tells_for_which_instant_they_asked(viewer: Client) -> None:
    make_run(now=NOW - timedelta(days=9), started_at=NOW)
    page = text_of(viewer, list_url(EngagementJobRun))
    assert 'class="field-now' in page
    assert "21 Feb 2026, 06:00 UTC" in page or "21 February 2026, 06:00 UTC" in page


@pytest.mark.parametrize("model", MODELS)
def test_list_and_page_cost_the_same_with_10_rows_and_with_10_000(viewer: Client, model: type[Model]) -> None:
    fill_tables(10)
    few = cost_of(viewer, list_url(model)), cost_of(viewer, page_url(model._default_manager.all()[0]))
    fill_tables(9_990)
    many = cost_of(viewer, list_url(model)), cost_of(viewer, page_url(model._default_manager.all()[0]))
    assert few == many


def test_rows_are_counted_to_a_limit(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paginator, "COUNTED", 60)
    fill_tables(61)
    assert found(viewer, UserProfile) == 60
    assert "The first 60 users" in text_of(viewer, list_url(UserProfile))
    assert "The first" not in text_of(viewer, list_url(UserProfile), reengagement_opt_out__exact="1")
    assert len(viewer.get(list_url(UserProfile), {"p": "2"}).context["cl"].result_list) == 10


@pytest.mark.parametrize("model", MODELS)
def test_order_is_stable_from_page_to_page(viewer: Client, model: type[Model]) -> None:
    fill_tables(120)
    seen = [
        row.pk
        for page in ("1", "2", "3")
        for row in viewer.get(list_url(model), {"p": page}).context["cl"].result_list
    ]
    assert len(set(seen)) == 120


@pytest.mark.parametrize("model", MODELS)
def test_order_is_the_lists_own(viewer: Client, model: type[Model]) -> None:
    fill_tables(3)
    orders = {
        tuple(row.pk for row in viewer.get(list_url(model), {"o": order}).context["cl"].result_list)
        for order in ("", "1", "-1", "4", "-4")
    }
    assert len(orders) == 1


def test_newest_user_stands_first_whoever_wrote_the_row(viewer: Client) -> None:
    for number in range(5):
        make_user()
        execute(
            "INSERT INTO user_profiles (user_id, created_at) VALUES (gen_random_uuid(), %s)",
            NOW + timedelta(days=number),
        )
    shown = viewer.get(list_url(UserProfile)).context["cl"].result_list
    created = [profile.created_at for profile in shown]
    assert created == sorted(created, reverse=True)
    assert "The newest first." in text_of(viewer, list_url(UserProfile))


@pytest.mark.parametrize("model", [UserEngagementState, EngagementStateTransition, EngagementMessage])
def test_list_in_the_order_of_ids_says_so(viewer: Client, model: type[Model]) -> None:
    assert "By id: the newest first." in text_of(viewer, list_url(model))


def test_what_has_waited_longest_stands_first_where_the_front_page_leads(viewer: Client) -> None:
    user = make_user()
    oldest = queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(days=9))
    for number in range(60):
        queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(minutes=number))
    tiles = (viewer.get("/admin/").context_data or {})["messages_waiting"]
    response = viewer.get(tiles[0].url)
    waiting = list(response.context["cl"].result_list)
    assert waiting[0].pk == oldest.pk
    assert waiting == sorted(waiting, key=lambda message: message.scheduled_for)
    assert "What is to be sent first stands first." in response.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_times_say_that_they_are_utc(viewer: Client, model: type[Model]) -> None:
    make_user("silent")
    run_job()
    row = model._default_manager.get()
    for page in (list_url(model), page_url(row)):
        times = re.findall(r"\d{4}, \d\d:\d\d(.{4})", text_of(viewer, page))
        assert times
        assert set(times) == {" UTC"}


def test_anonymous_visitor_is_sent_to_the_login(client: Client) -> None:
    response = client.get(list_url(UserProfile))
    assert response.status_code == 302
    assert "/login/" in response.headers["Location"]


def test_staff_without_permission_sees_no_users(client: Client) -> None:
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    assert client.get(list_url(UserProfile)).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="view_userprofile"))
    assert client.get(list_url(UserProfile)).status_code == 200
