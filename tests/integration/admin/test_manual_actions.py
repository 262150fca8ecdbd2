"""The list of what the team did manually. Real requests."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.utils import timezone
from freezegun import freeze_time

from engagement.admin.admin_log import record
from engagement.groups import SUPPORT
from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserProfile
from tests.factories import NOW, make_user, make_users, queue_for
from tests.integration.admin.conftest import logged_in
from tests.integration.admin.pages import (
    act_url,
    cell,
    content_of,
    export,
    link_to,
    page_url,
    rows_of,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db

ACTIONS = "/admin/admin/logentry/"
JID = "5511999990042@s.whatsapp.net"


def test_actions_of_the_team_are_listed_with_names(support: Client, viewer: Client) -> None:
    user = make_user("dormant", user__whatsapp_jid=JID)
    message = queue_for(user, MessageType.WELCOME)
    for row, action in ((user.user, "bring_back"), (user.user, "opt_out"), (message, "cancel")):
        support.post(act_url(row, action))
    page = text_of(viewer, ACTIONS)
    assert "3 manual actions" in page
    assert re.search(r"<title>\s*Manual actions \|", page)
    assert "og entries" not in page.partition("<body")[2]
    for sentence in ("Marked as active.", "Opted out", "(welcome)."):
        assert sentence in page
    assert page.count(link_to(user.user, "5511•••••0042", title=user.user_id)) == 3
    assert f">{SUPPORT}<" in page
    assert JID.partition("@")[0] not in page
    assert "5511999990042" in text_of(support, ACTIONS)
    assert 'href="/admin/admin/logentry/"' in text_of(viewer, "/admin/")


def test_actions_are_filtered_by_person_day_and_user(support: Client, viewer: Client) -> None:
    ada, grace = User.objects.get(username=SUPPORT), logged_in("grace")[0]
    users = [make_user().user for _ in range(2)]
    for account, user, days in ((ada, users[0], 0), (ada, users[1], 1), (grace, users[0], 2)):
        with freeze_time(NOW - timedelta(days=days)):
            record(user, "Opted in.", account=account, now=timezone.now())
    assert len(rows_of(viewer, ACTIONS)) == 3
    assert len(rows_of(viewer, ACTIONS, by="grace")) == 1
    assert len(rows_of(viewer, ACTIONS, by=[SUPPORT, "grace"])) == 3
    assert len(rows_of(viewer, ACTIONS, action_time_from=str(NOW.date()))) == 1
    assert len(rows_of(viewer, ACTIONS, q=str(users[0].pk))) == 2
    assert len(rows_of(viewer, ACTIONS, object_id__exact=str(users[1].pk))) == 1


def test_changes_of_accounts_and_tokens_are_for_those_who_see_them(
    viewer: Client, admin_client: Client
) -> None:
    admin_client.post("/admin/auth/group/add/", {"name": "new"})
    admin_client.post("/admin/engagement/apitoken/add/", {"client": "assistant", "scopes": ["send"]})
    assert LogEntry.objects.count() == 2
    assert rows_of(viewer, ACTIONS) == []
    (entry,) = rows_of(admin_client, ACTIONS)
    assert entry.change_message == "Made."


def test_account_that_manages_tokens_sees_their_changes(account_with: Callable[..., Client]) -> None:
    client = account_with("view_userprofile", "manage_api_tokens")
    client.post("/admin/engagement/apitoken/add/", {"client": "assistant", "scopes": ["send"]})
    assert [entry.change_message for entry in rows_of(client, ACTIONS)] == ["Made."]


def test_filter_by_account_is_named(support: Client) -> None:
    record(make_user().user, "Opted in.", account=User.objects.get(username=SUPPORT), now=NOW)
    assert f"Filtered by staff account: {SUPPORT.lower()}." in text_of(support, ACTIONS, by=SUPPORT)


def test_list_needs_the_permission_to_see_users(account_with: Callable[..., Client]) -> None:
    assert account_with("view_engagementmessage").get(ACTIONS).status_code == 403
    assert account_with("view_userprofile").get(ACTIONS).status_code == 200


def test_only_the_message_of_an_action_is_linked(support: Client) -> None:
    user = make_user()
    message = queue_for(user, MessageType.WELCOME)
    support.post(act_url(message, "cancel"))
    export(support, EngagementStateTransition, f"?run={user.user_id}")
    export(support, EngagementMessage, f"?user__exact={user.user_id}")
    page = text_of(support, ACTIONS)
    assert re.findall(r'"[^"]+/engagementmessage/[^"]+/change/"', page) == [f'"{page_url(message)}"']
    assert f"Filtered by run: {user.user_id}.<" in page


def test_export_is_in_the_language_of_the_reader(support: Client) -> None:
    make_users(2, "dormant")
    export(support, UserProfile, "?reengagement_opt_out__exact=0")
    page = support.get(ACTIONS, headers={"accept-language": "pt-BR"}).content.decode()
    assert cell(page, "target") == "usuários"
    assert cell(page, "action") == ("2 linhas da lista usuários exportadas. Filtered by opted out: no.")


def test_history_of_a_row_is_in_the_list(support: Client) -> None:
    user = make_user("dormant").user
    support.post(act_url(user, "opt_out"))
    support.post(act_url(make_user().user, "opt_out"))
    response = support.get(page_url(user).replace("change", "history"), follow=True)
    assert [entry.object_id for entry in response.context["cl"].result_list] == [str(user.pk)]


def test_actions_are_exported(support: Client) -> None:
    user = make_user("dormant", user__whatsapp_jid=JID)
    support.post(act_url(user.user, "opt_out"))
    (_, line) = content_of(support.post(f"{ACTIONS}export/")).splitlines()
    assert line.split(",")[1:4] == [SUPPORT, "Opted out.", "userprofile"]
    assert line.split(",")[4:] == [str(user.user_id), JID]
