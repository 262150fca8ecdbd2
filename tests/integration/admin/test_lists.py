"""The lists: read-only rows, search, filters, order, pages. Real requests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

from engagement.admin import change_list
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserProfile,
)
from engagement.selectors.job_runs import VANISHED_AFTER
from tests.database import execute
from tests.factories import NOW, TICK, make_run, make_user, make_users, queue_for
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import (
    MODELS,
    OF_USERS,
    choose,
    link_to,
    list_url,
    page_url,
    rows_of,
    text_of,
)
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def one_of_each() -> None:
    """One row of each model: a user with a goodbye, and the run."""
    make_user("silent")
    run_job()


def found(client: Client, model: type[Model], **query: Any) -> int:
    return len(rows_of(client, model, **query))


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("model", MODELS)
def test_list_and_page_are_shown_with_times_in_utc(viewer: Client, model: type[Model]) -> None:
    for url in (list_url(model), page_url(model._default_manager.get())):
        page = viewer.get(url).content.decode()
        times = re.findall(r"\d{4}, \d\d:\d\d(.{4})", page)
        assert times
        assert set(times) == {" UTC"}
    assert "/history/" not in page


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("model", MODELS)
def test_list_leads_to_the_page_of_each_row(viewer: Client, model: type[Model]) -> None:
    assert f'href="{page_url(model._default_manager.get())}' in text_of(viewer, list_url(model))


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("model", MODELS)
def test_rows_cannot_be_added_changed_or_deleted(admin_client: Client, model: type[Model]) -> None:
    row = model._default_manager.get()
    before = model._default_manager.values().get()
    address = page_url(row).removesuffix("change/")
    assert admin_client.post(f"{list_url(model)}add/", {}).status_code == 403
    assert admin_client.post(page_url(row), {"state": "dormant"}).status_code == 403
    assert admin_client.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    choose(admin_client, model, "delete_selected", row, post="yes")
    assert model._default_manager.values().get() == before


@pytest.mark.parametrize("model", OF_USERS)
def test_user_is_found_by_id_and_by_the_beginning_of_the_address(support: Client, model: type[Model]) -> None:
    make_users(3, "silent")
    make_user("silent", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    user = make_user("silent", user__whatsapp_jid="5521999990042@s.whatsapp.net")
    run_job()
    for term in (str(user.user_id), str(user.user.whatsapp_jid), "5521", " +55 (21) 99999-0042 "):
        (row,) = rows_of(support, model, q=term)
        assert user.user_id in {row.pk, getattr(row, "user_id", None)}, term


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("term", ["anna", "+", "%", "00000000-0000-0000-0000-000000000000"])
def test_search_for_an_unknown_user_finds_nothing(support: Client, model: type[Model], term: str) -> None:
    assert found(support, model, q=term) == 0


@pytest.mark.parametrize("model", MODELS)
def test_row_is_found_by_the_id_on_its_page(viewer: Client, model: type[Model]) -> None:
    make_users(2, "silent")
    run_job()
    make_run()
    row = model._default_manager.all()[0]
    assert f">{row.pk}</d" in text_of(viewer, page_url(row))
    assert rows_of(viewer, model, q=f" {row.pk} ") == [row]
    assert f"{model._meta.verbose_name} id" in text_of(viewer, list_url(model)).lower()


def make_states() -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    make_user("dormant")
    make_user("help_flow", user__reengagement_opt_out=True)


def make_transitions() -> None:
    make_user("silent")
    make_user("goodbye_sent")
    run_job()


def make_messages() -> None:
    user = make_user()
    queue_for(user, MessageType.WELCOME, status="failed")
    queue_for(user, MessageType.GOODBYE)


def make_runs() -> None:
    make_run()
    make_run(status="failed", checks={"goodbye_timeout": {}})


TODAY, TOMORROW = (str(NOW.date() + timedelta(days=days)) for days in (0, 1))


@pytest.mark.parametrize(
    ("make_rows", "model", "query", "count"),
    [
        (make_states, UserProfile, {"engagement_state__state__exact": "dormant"}, 1),
        (make_states, UserProfile, {"engagement_state__state__exact": ["dormant", "help_flow"]}, 2),
        (make_states, UserProfile, {"due": "inactivity_14d"}, 2),
        (make_states, UserProfile, {"due": "any"}, 3),
        (make_states, UserProfile, {"due": "inactivity_14d", "engagement_state__state__exact": "dormant"}, 0),
        (make_states, UserProfile, {"due": "nothing"}, 5),
        (make_states, UserProfile, {"reengagement_opt_out__exact": "1"}, 1),
        (make_transitions, EngagementStateTransition, {"trigger__exact": "goodbye_timeout"}, 1),
        (make_transitions, EngagementStateTransition, {"created_at_from": TODAY, "created_at_to": TODAY}, 2),
        (make_transitions, EngagementStateTransition, {"created_at_from": TOMORROW}, 0),
        (
            make_transitions,
            EngagementStateTransition,
            {"created_at_from": "2026-02-31", "created_at_to": "soon"},
            2,
        ),
        (make_messages, EngagementMessage, {"status__exact": "failed"}, 1),
        (make_messages, EngagementMessage, {"message_type__exact": "goodbye"}, 1),
        (make_runs, EngagementJobRun, {"status__exact": "failed"}, 1),
        (make_runs, EngagementJobRun, {"check": "inactivity_14d"}, 1),
        (make_runs, EngagementJobRun, {"check": ["inactivity_14d", "goodbye_timeout"]}, 2),
    ],
)
@freeze_time(NOW)
def test_list_is_filtered(
    viewer: Client,
    make_rows: Callable[[], None],
    model: type[Model],
    query: dict[str, str | list[str]],
    count: int,
) -> None:
    make_rows()
    assert found(viewer, model, **query) == count


@freeze_time(NOW)
def test_search_respects_the_filters(viewer: Client) -> None:
    silent, _ = make_users(2, "silent")
    message = queue_for(silent, MessageType.WELCOME, status="sent")
    assert found(viewer, UserProfile, q=str(silent.user_id), due="inactivity_14d") == 1
    for status, count in (("sent", 1), ("failed", 0)):
        assert found(viewer, EngagementMessage, q=str(message.pk), status__exact=status) == count


def test_users_who_failed_in_a_run_are_linked(viewer: Client) -> None:
    user = make_user(user__whatsapp_jid="5511999990042@s.whatsapp.net")
    run = make_run(
        errors=[{"user_id": str(user.user_id), "check_type": "inactivity_14d", "error": "refused"}]
    )
    page = text_of(viewer, page_url(run))
    assert link_to(user.user, "5511•••••0042") in page
    assert "refused</td>" in page


def test_run_without_a_process_is_shown_as_vanished(viewer: Client) -> None:
    run = make_run(status="running")
    for page in (list_url(EngagementJobRun), page_url(run)):
        assert "vanished" in text_of(viewer, page)
    assert "running" not in text_of(viewer, page_url(run))


@freeze_time(NOW)
def test_vanished_is_a_status_of_its_own_in_the_filter(viewer: Client) -> None:
    running = make_run(status="running", last_seen_at=NOW - VANISHED_AFTER)
    vanished = make_run(status="running", last_seen_at=NOW - VANISHED_AFTER - TICK)
    failed = make_run(status="failed")
    for statuses, runs in (
        (["running"], {running}),
        (["vanished"], {vanished}),
        (["failed", "vanished"], {failed, vanished}),
        (["running", "vanished"], {running, vanished}),
        ([], {running, vanished, failed}),
    ):
        assert set(rows_of(viewer, EngagementJobRun, status__exact=statuses)) == runs


def test_list_of_runs_shows_the_time_for_which_they_ran(viewer: Client) -> None:
    make_run(now=NOW - timedelta(days=9), started_at=NOW)
    page = text_of(viewer, list_url(EngagementJobRun))
    assert 'class="field-as_of' in page
    assert "21 Feb 2026, 06:00 UTC" in page or "21 February 2026, 06:00 UTC" in page


def test_rows_are_counted_up_to_a_limit(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_list, "MAX_COUNTED", 60)
    fill_tables(61)
    page = text_of(viewer, list_url(UserProfile))
    assert "The first 60 users" in page
    assert "The first" not in text_of(viewer, list_url(UserProfile), reengagement_opt_out__exact="1")
    assert found(viewer, UserProfile, p="2") == 10


@pytest.mark.parametrize("model", MODELS)
def test_pages_of_a_list_have_every_row_once(viewer: Client, model: type[Model]) -> None:
    fill_tables(120)
    seen = {row.pk for page in ("1", "2", "3") for row in rows_of(viewer, model, p=page)}
    assert len(seen) == 120


@pytest.mark.parametrize("model", MODELS)
def test_order_in_the_url_is_ignored(viewer: Client, model: type[Model]) -> None:
    fill_tables(3)
    orders = [rows_of(viewer, model, o=order) for order in ("", "1", "-1", "2", "-2", "x", "99", "-")]
    assert all(order == orders[0] for order in orders)
    assert "Newest first." in text_of(viewer, list_url(model))


def test_newest_user_is_first_whatever_the_id(viewer: Client) -> None:
    for number in range(5):
        make_user()
        execute(
            "INSERT INTO user_profiles (user_id, created_at) VALUES (gen_random_uuid(), %s)",
            NOW + timedelta(days=number),
        )
    created = [profile.created_at for profile in rows_of(viewer, UserProfile)]
    assert created == sorted(created, reverse=True)


def test_pending_messages_are_in_the_order_of_sending(viewer: Client) -> None:
    user = make_user()
    oldest = queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(days=9))
    for number in range(60):
        queue_for(user, MessageType.WELCOME, scheduled_for=NOW - timedelta(minutes=number))
    url = (viewer.get("/admin/").context_data or {})["messages_waiting"][0].url
    pending = rows_of(viewer, url)
    assert pending[0].pk == oldest.pk
    assert pending == sorted(pending, key=lambda message: message.scheduled_for)
    assert "Next to be sent first." in text_of(viewer, url)


def test_visitor_who_is_not_logged_in_is_sent_to_the_login(client: Client) -> None:
    response = client.get(list_url(UserProfile))
    assert response.status_code == 302
    assert "/login/" in response.headers["Location"]


@pytest.mark.parametrize(("permissions", "code"), [([], 403), (["view_userprofile"], 200)])
def test_list_of_users_needs_a_permission(
    account_with: Callable[..., Client], permissions: list[str], code: int
) -> None:
    assert account_with(*permissions).get(list_url(UserProfile)).status_code == code
