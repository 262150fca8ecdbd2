"""Accounts without the permission cannot see or find out an address. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db.models import CharField, JSONField, TextField, Value
from django.db.models.functions import Cast, Concat
from uuid_utils.compat import uuid7

from engagement.admin.admin_log import record
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.groups import ACTIONS, VIEW_CONTACT, VIEW_TOKENS, VIEWERS
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    SendingChannel,
    UserEngagementState,
    UserProfile,
)
from engagement.services.api_tokens import make_token
from tests.factories import NOW, make_run, make_user, queue_for
from tests.integration.admin.pages import (
    OF_USERS,
    actions_url,
    download,
    export,
    list_url,
    page_url,
    rows_of,
    text_of,
)
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

NUMBER: Final = "5511999990042"
JID: Final = f"{NUMBER}@s.whatsapp.net"
MASKED: Final = "5511•••••0042"
TEXT: Final = f"{JID} {NUMBER}"
NO_DATA_OF_USERS: Final = {"client", "created_by", "host", "version"}
"""Columns with names of programs, accounts and machines."""
SHOWN: Final = [
    model_admin for model_admin in admin.site._registry.values() if isinstance(model_admin, ReadOnlyAdmin)
]


@pytest.fixture
def profile() -> UserProfile:
    """A user whose address is in every column that can hold it."""
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
    seen = [text_of(client, page_url(profile)), text_of(client, actions_url(profile))]
    for model in OF_USERS:
        rows = model._default_manager.all()
        urls = [list_url(model), f"{list_url(model)}?q={profile.pk}", *map(page_url, rows)]
        seen += [download(client, *rows), *(text_of(client, url) for url in urls)]
    return "".join(seen)


def fill_every_text(model: type[Model]) -> None:
    """Put an address and a number into each column that can have them."""
    for field in model._meta.concrete_fields:
        is_text = isinstance(field, (CharField, TextField)) and not field.choices
        if is_text and field.name not in NO_DATA_OF_USERS:
            # Some columns are unique.
            text = Concat(Value(f"{TEXT}, "), Cast("pk", TextField()))
            model._default_manager.update(**{field.name: text})
        elif isinstance(field, JSONField) and field.name != "errors":
            model._default_manager.update(**{field.name: {TEXT: 1, "performed_by": TEXT}})


def everything_shown(client: Client) -> Iterator[str]:
    """Every list, page, confirmation and file of every model."""
    yield text_of(client, "/admin/")
    for model_admin in SHOWN:
        model, rows = model_admin.model, list(model_admin.model._default_manager.all())
        yield text_of(client, list_url(model))
        yield download(client, *rows)
        yield export(client, model) if model_admin.export_order else ""
        for row in rows if model is not LogEntry else ():
            yield (page := text_of(client, page_url(row)))
            for url in re.findall(r'href="([^"]+/(?:act/\w+|undo)/)"', page):
                yield text_of(client, url)


def test_nothing_that_is_shown_has_an_address(account_with: Callable[..., Client]) -> None:
    acting = account_with(*ACTIONS, VIEW_TOKENS, "manage_api_tokens", group=VIEWERS)
    account, user, run = User.objects.get(), make_user("goodbye_sent"), make_run(succeeded=1)
    for status in ("pending", "failed", "unknown", "sent"):
        queue_for(user, MessageType.GOODBYE, status=status)
    token, _secret = make_token(client="assistant", scopes=["send"], now=NOW)
    channel = SendingChannel.objects.create(backend="x", paused_until=NOW.replace(year=2090))
    move = {"user": user.user, "from_state": "active", "to_state": "dormant"}
    undone = EngagementStateTransition.objects.create(**move, trigger="run_undone")
    for row in (user.user, run, token, channel, undone):
        record(row, "", account=account, now=NOW)
    for model in (*(model_admin.model for model_admin in SHOWN), UserEngagementState):
        fill_every_text(model)
    EngagementJobRun.objects.update(
        errors=[{"user_id": str(user.user_id), "check_type": "inactivity_14d", "error": TEXT}]
    )
    EngagementStateTransition.objects.update(
        metadata=dict.fromkeys(("job_id", "performed_by"), TEXT) | {"undone_job_id": str(run.pk)}
    )
    record(user.user, TEXT, account=account, now=NOW)
    seen = list(everything_shown(acting))
    assert re.findall(rf".{{0,200}}{NUMBER}.*", "".join(seen)) == []
    assert sum("[number]" in page or "[address]" in page for page in seen) > len(seen) / 2
    account.user_permissions.add(Permission.objects.get(codename=VIEW_CONTACT))
    assert sum(NUMBER in page for page in everything_shown(acting)) > len(seen) / 2


@pytest.mark.parametrize(
    "spelling",
    [
        "+55 11\u00a099999\u20110042",
        "\u0665\u0665\u0661\u0661\u0669\u0669\u0669\u0669\u0669\u0660\u0660\u0664\u0662",
        "5511\u202f99999\u20130042",
        "5511\u200b99999\u200b0042",
        "55\t11\t99999\t0042",
        "5511\u00ad99999\u00ad0042",
        "5511\u206099999\u20600042",
        "55\u000111\u000199999\u00010042",
    ],
)
def test_number_in_metadata_is_masked_in_any_notation(
    viewer: Client, profile: UserProfile, spelling: str
) -> None:
    EngagementStateTransition.objects.update(metadata={"note": f"call {spelling} today"})
    transition = EngagementStateTransition.objects.get()
    for shown in (text_of(viewer, page_url(transition)), download(viewer, transition)):
        assert "call [number] today" in shown


def test_viewer_sees_masked_addresses_everywhere(viewer: Client, profile: UserProfile) -> None:
    seen = everything_about(viewer, profile)
    assert MASKED in seen
    assert NUMBER not in seen


def test_support_sees_addresses(support: Client, profile: UserProfile) -> None:
    seen = everything_about(support, profile)
    assert JID in seen
    assert MASKED not in seen


@pytest.mark.parametrize("name", ["anna@example.org", NUMBER, 'anna "the boss" anna@example.org'])
def test_name_of_an_account_is_not_masked_in_the_history(
    viewer: Client, profile: UserProfile, name: str
) -> None:
    metadata = {"note": JID, "performed_by": name, "zone": NUMBER * 2, "who": [name]}
    EngagementStateTransition.objects.update(metadata=metadata)
    transition = EngagementStateTransition.objects.get()
    assert f"by {name}<" not in text_of(viewer, page_url(profile))
    User.objects.create_user(name, is_active=False)
    assert f"by {name}<" in text_of(viewer, page_url(profile))
    page = text_of(viewer, page_url(transition))
    assert (JID in page, NUMBER in page) == (False, False)


@pytest.mark.parametrize("model", [*OF_USERS, SendingChannel])
def test_row_that_no_page_has_prepared_is_never_shown(
    viewer: Client, profile: UserProfile, model: type[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    SendingChannel.objects.create(backend=JID)
    monkeypatch.setattr(ReadOnlyAdmin, "prepare", lambda *_: None)
    for url in (list_url(model), page_url(model._default_manager.all()[0])):
        with pytest.raises(KeyError, match="reader"):
            viewer.get(url)


def test_errors_of_a_run_are_masked(viewer: Client, support: Client) -> None:
    run = make_run(
        errors=[{"user_id": str(uuid7()), "check_type": "inactivity_14d", "error": f"no such number: {JID}"}],
        failure=f"refused by {JID}",
    )
    assert NUMBER not in text_of(viewer, page_url(run))
    assert text_of(support, page_url(run)).count(NUMBER) == 2


def test_masked_json_is_indented(viewer: Client, profile: UserProfile) -> None:
    welcome = EngagementMessage.objects.get(message_type=MessageType.WELCOME)
    for row in (EngagementStateTransition.objects.get(), welcome):
        assert '<pre class="engagement-json" tabindex="0">{\n  "' in text_of(viewer, page_url(row))


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("term", [JID, NUMBER, "5511", "+55 11 99999-0042"])
@pytest.mark.parametrize("model", [UserProfile, EngagementStateTransition, EngagementMessage])
def test_viewer_cannot_search_by_address(viewer: Client, model: type[Model], term: str) -> None:
    assert rows_of(viewer, model, q=term) == []


def test_number_cannot_be_guessed_as_a_reason(viewer: Client) -> None:
    for reason in (NUMBER, None):
        queue_for(make_user(), MessageType.WELCOME, status="failed", outcome_reason=reason)
    for reason in (NUMBER, "other"):
        assert len(rows_of(viewer, EngagementMessage, outcome_reason=reason)) == 2


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (UserProfile, "whatsapp_jid__startswith"),
        (UserProfile, "whatsapp_jid"),
        (UserProfile, "engagement_messages__destination_jid__startswith"),
        (EngagementStateTransition, "user__whatsapp_jid__startswith"),
        (EngagementStateTransition, "metadata__number__startswith"),
        (EngagementMessage, "destination_jid__startswith"),
        (EngagementMessage, "error_message__contains"),
        (EngagementMessage, "idempotency_key__contains"),
        (EngagementMessage, "status__exact__destination_jid"),
    ],
)
def test_url_of_a_list_cannot_filter_by_address(viewer: Client, model: type[Model], lookup: str) -> None:
    assert viewer.get(list_url(model), {lookup: "5511"}).status_code == 400
