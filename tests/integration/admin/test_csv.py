"""Lists as CSV: everything that is filtered, or selected rows."""

from __future__ import annotations

import codecs
import csv
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import format_html
from freezegun import freeze_time

from engagement.admin import export as export_module
from engagement.groups import SUPPORT
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from tests.database import another_connection
from tests.factories import NOW, make_user, make_users, queue_for
from tests.integration.admin.many_rows import fill_tables
from tests.integration.admin.pages import (
    MODELS,
    choose,
    content_of,
    download,
    export,
    export_url,
    list_url,
    rows_of,
    sentences,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import Model
    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", MODELS)
def test_selected_rows_can_be_downloaded(viewer: Client, model: type[Model]) -> None:
    fill_tables(3)
    first, second, _ = model._default_manager.all()
    lines = download(viewer, first, second).splitlines()
    assert len(lines) == 3
    key = first.pk if model in (UserProfile, EngagementJobRun) else first.user_id  # type: ignore[attr-defined]
    assert str(key) in "".join(lines)


def test_file_begins_with_a_byte_order_mark(viewer: Client) -> None:
    profile = make_user().user
    assert download(viewer, profile).encode().startswith(codecs.BOM_UTF8)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(1)")),
        ("\t=1", "'\t'=1"),
        ("\r=1", "\"'\r'=1\""),
        ("\n=1", "\"'\n'=1\""),
        ("a;=1+1", "a;'=1+1"),
        ("a; +1", "a;' +1"),
        *((f"{sign}1", f"'{sign}1") for sign in "\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b"),
        (";=1", ";'=1"),
        ("a=1", "a=1"),
        ("no <number>, <img x>", '"no <number>, <img x>"'),
        ("a;b", "a;b"),
    ],
)
def test_cell_is_never_a_formula(viewer: Client, text: str, cell: str) -> None:
    assert f",{cell}," in download(viewer, make_user(user__locale=text).user)


def test_selection_is_limited_to_one_page(viewer: Client) -> None:
    fill_tables(51)
    first, *others = UserProfile.objects.all()
    assert len(download(viewer, *others).splitlines()) == 51
    everything = choose(viewer, UserProfile, "download", first, select_across="1")
    assert sentences(everything) == ["Nothing was done: select at most 50 rows at a time."]
    for query in ({}, {"all": ""}):
        assert len(rows_of(viewer, UserProfile, **query)) == 50


@pytest.mark.parametrize("model", MODELS)
def test_list_does_not_offer_to_select_all_pages(viewer: Client, model: type[Model]) -> None:
    fill_tables(51)
    page = text_of(viewer, list_url(model))
    assert "All 51 selected" in page
    assert "Select all 51" not in page


EXPORTED: Final = (UserProfile, EngagementMessage, EngagementStateTransition, EngagementJobRun)


@pytest.mark.parametrize("model", EXPORTED)
def test_everything_is_exported_once_whatever_the_page(
    viewer: Client, model: type[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module.in_chunks, "__kwdefaults__", {"size": 7})
    fill_tables(61)
    _, *lines = export(viewer, model).splitlines()
    assert len(lines) == len(set(lines)) == 61
    keys = [str(key) for key in model._default_manager.values_list("pk", flat=True)]
    assert all(any(key in line for line in lines) for key in keys)
    label = "Export all 61 " + str(model._meta.verbose_name_plural) + " as CSV"
    assert label in text_of(viewer, list_url(model))


@pytest.mark.parametrize("model", [*EXPORTED, LogEntry])
def test_export_takes_a_constant_number_of_statements_for_each_chunk(
    viewer: Client, model: type[Model]
) -> None:
    costs = []
    # The first export of a session reads the preferences of the account, and content types.
    export(viewer, model)
    for count in (10, 990):
        fill_tables(count)
        with CaptureQueriesContext(connection) as queries:
            export(viewer, model)
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_export_has_what_was_filtered_and_searched(support: Client) -> None:
    user = make_user("dormant", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    make_user("dormant")
    make_user()
    (_, *dormant) = export(support, UserProfile, "?engagement_state__state__exact=dormant").splitlines()
    assert len(dormant) == 2
    (_, line) = export(
        support, UserProfile, "?engagement_state__state__exact=dormant&q=0042&p=2"
    ).splitlines()
    assert line.startswith(str(user.user_id))
    assert export(support, UserProfile, "?q=nobody").count("\n") == 1


def test_export_of_users_has_state_goodbye_and_last_message(viewer: Client) -> None:
    user = make_user("goodbye_sent", user__whatsapp_jid="5511999990042@s.whatsapp.net")
    queue_for(user, MessageType.GOODBYE, status="sent", created_at=NOW, sent_at=NOW)
    (row,) = csv.DictReader(StringIO(export(viewer, UserProfile).removeprefix("\ufeff")))
    assert row["user ID"] == str(user.user_id)
    assert row["WhatsApp"] == "5511•••••0042"
    assert (row["state"], row["goodbye"], row["goodbye at"]) == ("waiting for reply", "sent", NOW.isoformat())
    assert row["last message other than a reply"] == user.last_activity_at.isoformat()
    assert row["opted out"] == "no"


def test_export_is_masked_as_the_reader_may_see(viewer: Client, support: Client) -> None:
    number = "5511999990042"
    user = make_user(user__whatsapp_jid=f"{number}@s.whatsapp.net", user__locale=number)
    queue_for(user, MessageType.WELCOME, status="failed", error_message=f"no {number}", message_key=number)
    EngagementStateTransition.objects.create(
        user=user.user,
        from_state="active",
        to_state="dormant",
        trigger="user_message",
        metadata={"n": number},
    )
    for model in (UserProfile, EngagementMessage, EngagementStateTransition):
        assert number not in export(viewer, model)
        assert number in export(support, model)


@freeze_time(NOW)
def test_export_is_logged_with_a_name(support: Client, caplog: pytest.LogCaptureFixture) -> None:
    make_users(3, "dormant")
    response = support.post(
        export_url(UserProfile) + "?engagement_state__state__exact=dormant&q=5511999990042"
    )
    assert not LogEntry.objects.exists()
    content_of(response)
    export(support, UserProfile, "?engagement_state__state__exact=dormant")
    first, second = LogEntry.objects.order_by("id")
    assert second.change_message == "Exported 3 rows of the list users. Filtered by state: dormant."
    assert first.change_message.endswith("Searched for [hidden].")
    assert (second.user.get_username(), second.action_time) == (SUPPORT, NOW)
    assert "Exported 3 rows" in text_of(support, "/admin/admin/logentry/")
    event: Any = caplog.records[-1].msg
    assert event["event"] == "engagement_list_exported"
    assert (event["account"], event["list"], event["rows"], event["complete"]) == (SUPPORT, "users", 3, True)


@pytest.mark.parametrize(
    ("searched", "logged"),
    [
        ("11+98765", "[hidden]"),
        ("0042", "[hidden]"),
        ("+01A22AAA-6cc4-75dc-b678-e68540028947+", "01a22aaa-6cc4-75dc-b678-e68540028947"),
    ],
)
def test_log_has_no_part_of_a_number_that_was_searched_for(
    support: Client, searched: str, logged: str
) -> None:
    export(support, UserProfile, f"?q={searched}")
    assert LogEntry.objects.get().change_message.endswith(f" Searched for {logged}.")


@pytest.mark.parametrize(
    ("model", "query", "filters"),
    [
        (EngagementJobRun, "status__exact=failed", "Filtered by status: failed."),
        (EngagementJobRun, "check=goodbye_timeout", "Filtered by check: no reply to the goodbye."),
        (UserProfile, "due=goodbye_timeout", "Filtered by due at the next run: no reply to the goodbye."),
        (EngagementMessage, "outcome_reason=waiting_cap", "Filtered by reason: the daily cap is reached."),
    ],
)
def test_filters_of_an_export_are_logged_in_english(
    support: Client, model: type[Model], query: str, filters: str
) -> None:
    content_of(support.post(f"{export_url(model)}?{query}", headers={"accept-language": "pt-br"}))
    assert LogEntry.objects.get().change_message.endswith(filters)


def test_interrupted_export_is_logged_as_such(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module.in_chunks, "__kwdefaults__", {"size": 2})
    make_users(5)
    response: Any = support.post(export_url(UserProfile))
    stream = response.streaming_content
    for _ in range(3):
        next(stream)
    vars(response)["_iterator"].close()
    assert LogEntry.objects.get().change_message == (
        "Exported 2 rows of the list users. The export was interrupted."
    )


def begun_export(support: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """The rest of an export of five users after its first rows, whose session the server has ended."""
    monkeypatch.setattr(export_module.in_chunks, "__kwdefaults__", {"size": 2})
    make_users(5)
    response: Any = support.post(export_url(UserProfile))
    stream: Iterator[bytes] = response.streaming_content
    assert len((next(stream) + next(stream)).splitlines()) == 3
    with another_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    return stream


@pytest.mark.django_db(transaction=True)
def test_export_goes_on_after_its_session_has_ended(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = begun_export(support, monkeypatch)
    assert len(b"".join(stream).splitlines()) == 3
    assert LogEntry.objects.get().change_message == "Exported 5 rows of the list users."


@pytest.mark.django_db(transaction=True)
def test_export_that_cannot_go_on_says_so_in_the_file(
    support: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 0
    stream = begun_export(support, monkeypatch)
    assert next(stream).startswith(b'"This export is incomplete,')
    with pytest.raises(OperationalError):
        next(stream)
    assert LogEntry.objects.get().change_message == (
        "Exported 2 rows of the list users. The export was interrupted."
    )


def test_cell_has_the_text_of_html() -> None:
    assert export_module.cell(format_html('<a href="/">{}</a>', "<b> & c")) == "<b> & c"


def test_login_after_an_expired_session_leads_back_to_the_list(viewer: Client) -> None:
    query = "?engagement_state__state__exact=dormant&q=x"
    response = viewer.get(export_url(UserProfile) + query, follow=True)
    assert response.redirect_chain[0][1] == 302
    assert response.request["PATH_INFO"] == list_url(UserProfile)
    assert f"?{response.request['QUERY_STRING']}" == query
    assert response.status_code == 200


def test_export_needs_the_permission(viewer: Client, account_with: Callable[..., Client]) -> None:
    assert account_with("view_engagementmessage").post(export_url(UserProfile)).status_code == 403
    assert viewer.post(export_url(UserProfile) + "?whatsapp_jid__startswith=55").status_code == 400


def test_row_that_moves_meanwhile_is_exported_once(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module.in_chunks, "__kwdefaults__", {"size": 2})
    make_users(6, "dormant")
    response: Any = viewer.post(export_url(UserProfile))
    stream = response.streaming_content
    text = next(stream) + next(stream)
    UserEngagementState.objects.update(state="active", last_activity_at=NOW)
    lines = (text + b"".join(stream)).decode().splitlines()
    assert len(lines) == len(set(lines)) == 7
