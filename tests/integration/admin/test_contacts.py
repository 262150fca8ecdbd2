"""Nobody sees an address, or finds one out, who lacks the permission. Real requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib.auth.models import User

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from tests.factories import make_run, make_user, queue_for
from tests.integration.admin.pages import act_url, choose, list_url, page_url, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

NUMBER: Final = "5511999990042"
JID: Final = f"{NUMBER}@s.whatsapp.net"
MASKED: Final = "5511•••••0042"


@pytest.fixture
def profile() -> UserProfile:
    """A user whose address stands wherever it may."""
    user = make_user("silent", user__whatsapp_jid=JID)
    run_job()
    queue_for(
        user,
        MessageType.WELCOME,
        destination_jid=JID,
        status="failed",
        error_message=f"no such number: {JID}",
        idempotency_key=f"welcome:{JID}",
        message_params={"number": NUMBER},
        message_key=f"for.{JID}",
    )
    EngagementStateTransition.objects.update(
        metadata={"job_id": JID, "number": NUMBER, "performed_by": f"{JID} himself"}
    )
    UserProfile.objects.update(locale=JID)
    return user.user


def everything_about(client: Client, profile: UserProfile) -> str:
    pages = [page_url(profile), page_url(profile).replace("/change/", "/history/")]
    for model in (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage):
        rows = model._default_manager.all()
        pages += [list_url(model), f"{list_url(model)}?q={profile.pk}", *map(page_url, rows)]
    files = [
        choose(client, model, "download", *model._default_manager.all()).content.decode()
        for model in (UserProfile, EngagementMessage, EngagementStateTransition)
    ]
    return "".join([*files, *(text_of(client, page) for page in pages)])


def test_viewer_sees_addresses_masked_wherever_they_stand(viewer: Client, profile: UserProfile) -> None:
    seen = everything_about(viewer, profile)
    assert MASKED in seen
    assert NUMBER not in seen


@pytest.mark.parametrize("name", ["anna@example.org", NUMBER, 'anna "the boss" anna@example.org'])
def test_name_of_an_account_is_for_all_to_see(viewer: Client, profile: UserProfile, name: str) -> None:
    metadata = {"note": JID, "performed_by": name, "zone": NUMBER * 2, "who": [name]}
    EngagementStateTransition.objects.update(metadata=metadata)
    move = EngagementStateTransition.objects.get()
    as_json = json.dumps(name)
    assert f"by {name}<" not in text_of(viewer, page_url(profile))
    assert as_json not in text_of(viewer, page_url(move))
    User.objects.create_user(name, is_active=False)
    assert f"by {name}<" in text_of(viewer, page_url(profile))
    page = text_of(viewer, page_url(move))
    assert f'"performed_by": {as_json},\n' in page
    assert (page.count(as_json), JID in page, NUMBER * 2 in page) == (1, False, False)


def test_viewer_sees_no_address_in_what_a_run_met(viewer: Client, support: Client) -> None:
    run = make_run(
        errors=[{"user_id": "x", "error": f"no such number: {JID}"}],
        failure=f"refused by {JID}",
        options={"asked by": NUMBER},
    )
    assert NUMBER not in text_of(viewer, page_url(run))
    assert text_of(support, page_url(run)).count(NUMBER) == 3


def test_json_keeps_its_lines(viewer: Client, profile: UserProfile) -> None:
    welcome = EngagementMessage.objects.get(message_type=MessageType.WELCOME)
    for row in (EngagementStateTransition.objects.get(), welcome):
        assert '<pre class="engagement-json">{\n  "' in text_of(viewer, page_url(row))


def test_support_sees_addresses(support: Client, profile: UserProfile) -> None:
    seen = everything_about(support, profile)
    assert JID in seen
    assert MASKED not in seen


def test_support_sees_addresses_before_and_after_an_action(support: Client, profile: UserProfile) -> None:
    assert support.get(act_url(profile, "opt_out")).status_code == 200


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("term", [JID, NUMBER, "5511", "+55 11 99999-0042"])
@pytest.mark.parametrize("model", [UserProfile, UserEngagementState, EngagementMessage])
def test_viewer_finds_nobody_by_address(
    viewer: Client, model: type[UserProfile | UserEngagementState | EngagementMessage], term: str
) -> None:
    response = viewer.get(list_url(model), {"q": term})
    assert response.context["cl"].result_count == 0


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (UserProfile, "whatsapp_jid__startswith"),
        (UserProfile, "whatsapp_jid"),
        (UserProfile, "engagement_messages__destination_jid__startswith"),
        (UserEngagementState, "user__whatsapp_jid__startswith"),
        (EngagementStateTransition, "metadata__number__startswith"),
        (EngagementMessage, "destination_jid__startswith"),
        (EngagementMessage, "error_message__contains"),
        (EngagementMessage, "idempotency_key__contains"),
        (EngagementMessage, "status__exact__destination_jid"),
    ],
)
def test_nobody_finds_an_address_out_through_the_address_of_a_list(
    viewer: Client, model: type[UserProfile], lookup: str
) -> None:
    assert viewer.get(list_url(model), {lookup: "5511"}).status_code == 400


@pytest.mark.usefixtures("profile")
def test_lists_cannot_be_ordered_by_address(viewer: Client) -> None:
    make_user(user__whatsapp_jid="1@s.whatsapp.net")
    column = len(viewer.get(list_url(UserProfile)).context["cl"].list_display) - 1
    orders = [
        list(viewer.get(list_url(UserProfile), {"o": order}).context["cl"].result_list)
        for order in (f"{column}", f"-{column}")
    ]
    assert orders[0] == orders[1]
