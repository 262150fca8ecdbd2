"""The page of a run as a report, and the users whom a run moved. Real requests."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import User
from django.db import connection
from uuid_utils.compat import uuid7

from engagement.models import EngagementJobRun, EngagementStateTransition, UserProfile
from engagement.selectors.audit_log import by_person, transitions_of_run
from engagement.services.support import bring_back
from engagement.states import Trigger
from tests.database import fail_moves_of
from tests.factories import NOW, make_run, make_user, make_users
from tests.integration.admin.pages import cost_of, download, link_to, list_url, page_url, rows_of, text_of
from tests.integration.operation.undoing import undo
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

JID: Final = "5511999990042@s.whatsapp.net"
NUMBER: Final = "5511999990042"
MASKED: Final = "5511•••••0042"
SILENCE: Final = Trigger.INACTIVITY_14D.label.capitalize()


def plain(html: str) -> str:
    """The text of a page, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def page_of(client: Client, run: EngagementJobRun) -> str:
    html = text_of(client, page_url(run))
    return plain(html[html.index('<div class="engagement-stack">') :].partition("data-copy=")[0])


def of_run(client: Client, run: EngagementJobRun) -> str:
    return text_of(client, list_url(EngagementStateTransition), run=str(run.pk))


def test_page_of_a_run_is_a_report(viewer: Client) -> None:
    make_users(2, "silent")
    make_user("goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    fail_moves_of(make_user("silent", user__whatsapp_jid=JID))
    run_job(limit=500)
    page = page_of(viewer, EngagementJobRun.objects.get())
    for text in (
        "some users failed 3 moved, 1 failed, 1 skipped",
        "check moved failed skipped",
        f"{SILENCE} 2 1 1",
        "All checks 3 1 1",
        "Skipped: 1 opted out.",
        f"{MASKED} {Trigger.INACTIVITY_14D.label}",
        "As of 2 March 2026, 06:00 UTC",
        "Checks all Limit 500 users",
        "Nothing of this run was undone.",
        "manage.py undo_engagement_run",
    ):
        assert text in page, text
    for text in ("{", "Processed", "processed", "Why the run", "None"):
        assert text not in page, text


def test_duration_is_shown(viewer: Client) -> None:
    run = make_run(last_seen_at=NOW + timedelta(minutes=2, seconds=3))
    assert "Duration 2 minutes, 3 seconds" in page_of(viewer, run)
    assert "2 minutes, 3 seconds" in text_of(viewer, list_url(EngagementJobRun))


def test_failed_run_says_why(viewer: Client) -> None:
    run = make_run(status="failed", failure="The database is not available.", still_due=7)
    page = page_of(viewer, run)
    assert "The database is not available. 7 due users were left for the next run." in page


def test_row_of_an_older_version_may_lack_details(viewer: Client) -> None:
    run = make_run(checks={}, errors=[], options={}, skipped_by_reason={}, version="")
    assert "Version unknown" in page_of(viewer, run)


def test_number_of_moved_users_links_to_them(viewer: Client, account_with: Callable[..., Client]) -> None:
    make_users(2, "silent")
    run_job()
    run = EngagementJobRun.objects.get()
    link = f'href="{list_url(EngagementStateTransition)}?run={run.pk}"'
    no_transitions = account_with("view_engagementjobrun")
    for url in (list_url(EngagementJobRun), page_url(run)):
        assert link in text_of(viewer, url)
        assert link not in text_of(no_transitions, url)


def test_users_of_a_run_are_listed_with_masked_numbers(viewer: Client, support: Client) -> None:
    user = make_user("silent", user__whatsapp_jid=JID)
    run_job()
    make_user("silent")
    run_job(now=NOW + timedelta(hours=1))
    run = EngagementJobRun.objects.order_by("started_at")[0]
    assert [row.user_id for row in rows_of(viewer, EngagementStateTransition, run=str(run.pk))] == [
        user.user_id
    ]
    page = of_run(viewer, run)
    link = f'<a class="engagement-link" href="{page_url(user.user)}" title="{user.user_id}">'
    assert f"{link}{MASKED}</a>" in page
    assert not re.search(r"<a\b[^>]*>\s*<a\b", page)
    assert NUMBER not in page
    assert f"{link}{NUMBER}</a>" in of_run(support, run)
    assert (
        page.index("field-user_link") < page.index("field-trigger_label") < page.index("field-undone_label")
    )


def test_user_without_a_number_or_a_profile_has_the_end_of_the_id(viewer: Client) -> None:
    user = make_user("goodbye_sent", user__whatsapp_jid=None)
    run_job()
    run = EngagementJobRun.objects.get()
    assert f"…{str(user.user_id)[-8:]}</a>" in of_run(viewer, run)
    UserProfile.objects.all().delete()
    assert f"…{str(user.user_id)[-8:]}</a>" in of_run(viewer, run)


def test_list_of_a_run_shows_what_was_undone(viewer: Client) -> None:
    make_users(2, "silent")
    run = EngagementJobRun.objects.get(pk=run_job().job_id)
    kept = EngagementStateTransition.objects.all()[0]
    bring_back(user_id=kept.user_id, performed_by="ada", now=NOW)
    undo(run.pk)
    undone = {row.pk: row.undone_at for row in rows_of(viewer, EngagementStateTransition, run=str(run.pk))}
    assert undone.pop(kept.pk) is None
    assert list(undone.values()) == [NOW + timedelta(hours=2)]
    assert "2 March 2026, 08:00 UTC" in of_run(viewer, run)
    assert [row.undone for row in rows_of(viewer, EngagementJobRun)] == [1]
    assert "1 user was put back by the command on 2 March 2026, 08:00 UTC." in page_of(viewer, run)


def test_file_has_whole_ids(viewer: Client) -> None:
    user = make_user("silent", user__whatsapp_jid=JID)
    run_job()
    row = EngagementStateTransition.objects.get()
    (line,) = csv.DictReader(download(viewer, row).lstrip("\ufeff").splitlines())
    assert (line["user ID"], line["ID"], line["undone at"]) == (str(user.user_id), str(row.pk), "")
    assert line["WhatsApp"] == MASKED
    assert str(EngagementJobRun.objects.get().pk) in download(viewer, EngagementJobRun.objects.get())


@pytest.mark.parametrize("run", ["anna", "\u0660", "00000000-0000-0000-0000-000000000000", JID])
def test_unknown_run_has_no_users(viewer: Client, run: str) -> None:
    make_user("silent")
    run_job()
    EngagementStateTransition.objects.update(metadata={"job_id": JID})
    assert rows_of(viewer, EngagementStateTransition, run=run) == []


def test_filters_are_named_above_the_list(viewer: Client) -> None:
    run = make_run()
    page = of_run(viewer, run)
    assert f"Filtered by run: {link_to(run, run.pk)}." in page
    query = {"run": "<b>x", "performed_by": "<b>y"}
    hostile = viewer.get(list_url(EngagementStateTransition), query).content.decode()
    assert "Filtered by run: &lt;b&gt;x; staff account: &lt;b&gt;y." in hostile


def test_transitions_are_filtered_by_staff_account(viewer: Client) -> None:
    users = make_users(2, "dormant")
    User.objects.create_user("Ada", is_staff=True)
    for user, person in zip(users, ("Ada", JID), strict=True):
        bring_back(user_id=user.user_id, performed_by=person, now=NOW)
    (row,) = rows_of(viewer, EngagementStateTransition, performed_by="Ada")
    assert row.user_id == users[0].user_id
    # What other programs write may be an address: no oracle.
    assert rows_of(viewer, EngagementStateTransition, performed_by=JID) == []
    page = text_of(viewer, list_url(EngagementStateTransition), performed_by="Ada")
    assert "Filtered by staff account: Ada." in page


def test_users_of_a_run_are_found_by_an_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    run = transitions_of_run(uuid7()).order_by().values("trigger")
    assert "transition_run_idx" in run.explain()
    assert "transition_run_idx" not in EngagementStateTransition.objects.filter(by_person("ada")).explain()


def test_pages_of_a_run_cost_the_same_with_many_users(viewer: Client) -> None:
    costs = []
    for number in (2, 300):
        make_users(number, "silent")
        run = EngagementJobRun.objects.get(pk=run_job().job_id)
        errors = [
            {"user_id": str(user.pk), "check_type": "inactivity_14d", "error": "x"}
            for user in UserProfile.objects.all()[:number]
        ]
        EngagementJobRun.objects.filter(pk=run.pk).update(errors=errors)
        undo(run.pk)
        urls = (
            list_url(EngagementJobRun),
            page_url(run),
            f"{list_url(EngagementStateTransition)}?run={run.pk}",
        )
        costs.append([cost_of(viewer, url) for url in urls])
    assert costs[0] == costs[1]
