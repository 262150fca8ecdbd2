"""A run is undone from the admin: preview, confirmation with the numbers, report. Real requests."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse

from engagement.admin.runs import undo_view
from engagement.groups import SUPPORT
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
)
from engagement.services.resilience.stop import StopAfter, StopRequest
from engagement.services.support import bring_back
from tests.database import another_connection, execute, fail_moves_of, on_every_move
from tests.factories import NOW, make_run, make_user, make_users
from tests.integration.admin.pages import page_url, reports, text_of
from tests.integration.operation.undoing import count_undone, undo
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

PUT_BACK: Final = (
    "success",
    "2 users went back to their state before the run. 2 unsent goodbyes were cancelled.",
)


@pytest.fixture
def run() -> EngagementJobRun:
    """A run that moved three users, of whom one has been marked as active since."""
    first, *_ = make_users(3, "silent")
    job_id = run_job().job_id
    bring_back(user_id=first.user_id, performed_by="ada", now=NOW)
    return EngagementJobRun.objects.get(pk=job_id)


def undo_url(run: EngagementJobRun) -> str:
    return reverse("admin:engagement_engagementjobrun_undo", args=[run.pk])


def confirmed(page: str) -> str:
    """The numbers that the form of the preview confirms."""
    found = re.search(r'name="confirmed" value="([^"]*)"', page)
    assert found
    return found[1]


def confirm(client: Client, run: EngagementJobRun) -> Any:
    """Look at the preview and confirm it."""
    page = text_of(client, undo_url(run))
    return client.post(undo_url(run), {"confirmed": confirmed(page)}, follow=True)


def test_preview_says_what_would_happen_and_writes_nothing(support: Client, run: EngagementJobRun) -> None:
    page = text_of(support, undo_url(run))
    assert "2 users go back to their state before the run. 2 unsent goodbyes are cancelled." in page
    assert "Your name will appear in the history of each user." in page
    assert "<td>Changed since the run</td>" in page
    assert f"manage.py undo_engagement_run {run.pk}" in page
    assert re.search(r"bg-red-600[^>]*>\s*Put 2 users back", page)
    assert (count_undone(), LogEntry.objects.count()) == (0, 0)


def test_confirmed_undo_puts_users_back_under_the_name_of_the_account(
    support: Client, run: EngagementJobRun
) -> None:
    response = confirm(support, run)
    assert response.redirect_chain == [(page_url(run), 302)]
    assert reports(response) == [PUT_BACK, ("warning", "Not undone: 1, changed since the run.")]
    assert set(UserEngagementState.objects.values_list("state", flat=True)) == {"active"}
    assert set(EngagementMessage.objects.values_list("status", flat=True)) == {"cancelled"}
    undone = EngagementStateTransition.objects.filter(trigger="run_undone")
    assert [row.metadata["performed_by"] for row in undone] == [SUPPORT, SUPPORT]
    assert f"2 users were put back by {SUPPORT} on" in response.content.decode()
    assert f"by {SUPPORT}" in text_of(support, page_url(undone[0].user))
    entry = LogEntry.objects.get()
    assert entry.change_message == "Undone for 2 users; unsent goodbyes cancelled: 2."
    assert (entry.object_id, entry.user.get_username()) == (str(run.pk), SUPPORT)


def test_form_that_is_posted_twice_undoes_once(support: Client, run: EngagementJobRun) -> None:
    form = {"confirmed": confirmed(text_of(support, undo_url(run)))}
    support.post(undo_url(run), form)
    again = support.post(undo_url(run), form)
    page = again.content.decode()
    assert again.status_code == 200
    assert "Nothing was undone: the numbers have changed" in page
    assert "No user can be put back." in page
    assert "Already undone" in page
    assert "bg-red-600" not in page
    assert (count_undone(), LogEntry.objects.count()) == (2, 1)


def test_undo_that_comes_too_late_shows_the_numbers_again(
    support: Client, run: EngagementJobRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"confirmed": confirmed(text_of(support, undo_url(run)))}
    others = iter((lambda: None, lambda: undo(run.pk), lambda: None))

    def stop_after_another(_seconds: int) -> StopRequest:
        next(others)()
        return StopRequest()

    monkeypatch.setattr(undo_view, "StopAfter", stop_after_another)
    response = support.post(undo_url(run), form)
    page = response.content.decode()
    assert "Nothing was undone: the numbers have changed" in page
    assert "No user can be put back." in page
    assert reports(response) == []
    assert (count_undone(), LogEntry.objects.count()) == (2, 0)


@pytest.mark.usefixtures("committed")
def test_users_who_are_only_locked_are_not_called_changed(
    support: Client, run: EngagementJobRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"confirmed": confirmed(text_of(support, undo_url(run)))}
    with another_connection(autocommit=False) as other:
        all_users = partial(other.execute, "SELECT FROM user_engagement_states FOR UPDATE")
        before_each = iter((lambda: None, all_users, other.rollback))

        def stop(_seconds: int) -> StopRequest:
            next(before_each)()
            return StopRequest()

        monkeypatch.setattr(undo_view, "StopAfter", stop)
        page = support.post(undo_url(run), form).content.decode()
    assert "Nothing was undone: another program was using these users. Try again." in page
    assert "the numbers have changed" not in page
    assert (confirmed(page), count_undone()) == (form["confirmed"], 0)


def test_numbers_that_have_changed_are_shown_again(support: Client, run: EngagementJobRun) -> None:
    form = {"confirmed": confirmed(text_of(support, undo_url(run)))}
    another = UserEngagementState.objects.filter(state="goodbye_sent")[0]
    bring_back(user_id=another.user_id, performed_by="ada", now=NOW)
    page = support.post(undo_url(run), form).content.decode()
    assert "Nothing was undone: the numbers have changed" in page
    assert "1 user goes back to the state before the run. 1 unsent goodbye is cancelled." in page
    assert count_undone() == 0
    support.post(undo_url(run), {"confirmed": confirmed(page)})
    assert count_undone() == 1


@pytest.mark.usefixtures("committed")
def test_outage_in_the_middle_is_reported_with_what_was_done(
    support: Client, run: EngagementJobRun, settings: Settings
) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 1
    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 0
    execute("CREATE SEQUENCE faults")
    on_every_move("IF nextval('faults') > 1 THEN RAISE 'full' USING ERRCODE = 'disk_full'; END IF;")
    response = confirm(support, run)
    page = response.content.decode()
    assert "1 user went back to the state before the run. 1 unsent goodbye was cancelled." in page
    assert "The database is not available: full (SQLSTATE 53100)." in page
    assert count_undone() == 1
    assert LogEntry.objects.get().change_message == "Undone for 1 user; unsent goodbyes cancelled: 1."


@pytest.mark.parametrize("form", [{}, {"confirmed": ""}, {"confirmed": "2"}, {"confirmed": "0 0"}])
def test_wrong_confirmation_undoes_nothing(
    support: Client, run: EngagementJobRun, form: dict[str, str]
) -> None:
    assert support.post(undo_url(run), form).status_code == 200
    assert count_undone() == 0


@pytest.mark.parametrize("permissions", [("view_engagementjobrun",), ("undo_run",), ()])
def test_undo_needs_its_permission(
    account_with: Callable[..., Client], run: EngagementJobRun, permissions: tuple[str, ...]
) -> None:
    client = account_with(*permissions)
    form = {"confirmed": "2 2"}
    assert (client.get(undo_url(run)).status_code, client.post(undo_url(run), form).status_code) == (403, 403)
    assert count_undone() == 0


def test_button_is_for_accounts_with_the_permission(
    viewer: Client, support: Client, run: EngagementJobRun
) -> None:
    for client, shown in ((viewer, False), (support, True)):
        page = text_of(client, page_url(run))
        assert (undo_url(run) in page, "manage.py undo_engagement_run" in page) == (shown, True)
    assert undo_url(make_run()) not in text_of(support, page_url(make_run()))


def test_run_that_is_at_work_is_not_undone(support: Client, run: EngagementJobRun) -> None:
    execute("UPDATE engagement_job_runs SET status = 'running', finished_at = NULL, last_seen_at = now()")
    page = support.post(undo_url(run), {"confirmed": "2 2"}).content.decode()
    assert "The run is at work and goes on moving users. Stop it first." in page
    assert count_undone() == 0


def test_run_without_transitions_says_so(support: Client) -> None:
    assert "The audit log has no transition of this run." in text_of(support, undo_url(make_run()))


def test_unknown_run_is_not_found(support: Client) -> None:
    url = "/admin/engagement/engagementjobrun/00000000-0000-0000-0000-000000000000/undo/"
    assert support.get(url).status_code == 404


def test_preview_that_takes_too_long_is_given_up(
    support: Client, run: EngagementJobRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo_view, "StopAfter", lambda _seconds: StopAfter(0))
    page = support.post(undo_url(run), {"confirmed": "2 2"}).content.decode()
    assert "This takes too long for a web page. Use the command." in page
    assert count_undone() == 0


def test_undo_that_takes_too_long_says_that_more_is_to_do(
    support: Client, run: EngagementJobRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = text_of(support, undo_url(run))
    stops = iter((StopRequest(), StopAfter(0)))
    monkeypatch.setattr(undo_view, "StopAfter", lambda _seconds: next(stops))
    response = support.post(undo_url(run), {"confirmed": confirmed(page)}, follow=True)
    assert reports(response) == [
        ("warning", "The time for a web page was over. Use the command for the other users.")
    ]


def test_user_who_fails_is_reported(support: Client) -> None:
    users = make_users(2, "silent")
    run = EngagementJobRun.objects.get(pk=run_job().job_id)
    fail_moves_of(users[0])
    response = confirm(support, run)
    assert reports(response) == [
        ("success", "1 user went back to the state before the run. 1 unsent goodbye was cancelled."),
        ("error", "1 user could not be put back. The log has the reason."),
    ]


def test_undo_by_the_command_names_nobody() -> None:
    make_user("silent")
    job_id = run_job().job_id
    undo(job_id)
    assert "performed_by" not in EngagementStateTransition.objects.get(trigger="run_undone").metadata
    assert not User.objects.exists()
