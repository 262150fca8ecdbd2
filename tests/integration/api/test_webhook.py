"""WhatsApp's webhook: what is signed counts, once; everything else gets one sentence and changes nothing."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg.errors
import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from engagement.api import webhook
from engagement.models import (
    EngagementMessage,
    InboundMessage,
    MessageStatus,
    MessageType,
    SendingChannel,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.delivery.attempts import Attempt
from tests.database import all_rows, execute, on_every
from tests.factories import make_user, queue_for
from tests.integration.services.users import state_of, stored
from tests.times import MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

SECRET: Final = "app-secret"  # noqa: S105  no real one
TOKEN: Final = "verify-token"  # noqa: S105
NUMBER_ID: Final = "4711"
URL: Final = "/webhooks/whatsapp"
ANA: Final = "5511987654321"


@pytest.fixture(autouse=True)
def _webhook(settings: Settings) -> None:
    settings.WHATSAPP_APP_SECRET = SECRET
    settings.WHATSAPP_VERIFY_TOKEN = TOKEN
    settings.WHATSAPP_PHONE_NUMBER_ID = NUMBER_ID


def told(**fields: Any) -> UserEngagementState:
    """Ana, who was sent a goodbye an hour ago."""
    at = timezone.now() - timedelta(hours=1)
    user = make_user(
        "goodbye_sent",
        user__whatsapp_jid=f"{ANA}@s.whatsapp.net",
        goodbye_sent_at=at,
        goodbye_expires_at=at + timedelta(hours=48),
    )
    attempt = Attempt.at(at)
    row = {
        "idempotency_key": goodbye_key(user.user_id, now=at),
        "status": MessageStatus.SENT,
        "attempt_id": attempt.id,
        "claimed_at": attempt.claimed_at,
        "sent_at": attempt.claimed_at,
        "provider_message_id": "wamid.goodbye",
        "backend": "whatsapp_cloud",
    }
    queue_for(user, MessageType.GOODBYE, **(row | fields))
    return user


def goodbye() -> EngagementMessage:
    return EngagementMessage.objects.get(message_type=MessageType.GOODBYE)


def unix(instant: datetime) -> str:
    return str(int(instant.timestamp()))


def body_of(to: str = NUMBER_ID, **value: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": to}
    change = {"field": "messages", "value": {"messaging_product": "whatsapp", "metadata": metadata, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": "102", "changes": [change]}]}


def written(words: str = "1", **fields: Any) -> dict[str, Any]:
    return {
        "from": ANA,
        "id": "wamid.A",
        "timestamp": unix(timezone.now()),
        "type": "text",
        "text": {"body": words},
        **fields,
    }


def status(kind: str, **fields: Any) -> dict[str, Any]:
    now = timezone.now()
    return {"id": "wamid.goodbye", "status": kind, "timestamp": unix(now), "recipient_id": ANA, **fields}


def each(name: str, *values: Any) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def post(client: Client, body: Any, *, secret: str = SECRET, **headers: str) -> tuple[int, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = "sha256=" + hmac.digest(secret.encode(), content, "sha256").hex()
    answer = client.post(
        URL,
        content,
        content_type="application/json",
        headers={"X-Hub-Signature-256": signature, **headers},
    )
    return answer.status_code, answer.content.decode()


# Who may call.


def test_meta_verifies_the_address(client: Client) -> None:
    question = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158201444"}
    answer = client.get(URL, question)
    assert (answer.status_code, answer.content) == (200, b"1158201444")
    for wrong in ({"hub.verify_token": "x"}, {"hub.verify_token": ""}, {"hub.mode": "unsubscribe"}):
        answer = client.get(URL, question | wrong)
        assert (answer.status_code, b"1158201444" in answer.content) == (403, False)


def test_without_an_app_secret_there_is_no_webhook(client: Client, settings: Settings) -> None:
    settings.WHATSAPP_APP_SECRET = ""
    assert client.get(URL).status_code == 404
    assert post(client, body_of(messages=[written()]), secret="")[0] == 404


def test_without_a_verify_token_nobody_is_verified(client: Client, settings: Settings) -> None:
    settings.WHATSAPP_VERIFY_TOKEN = ""
    assert client.get(URL, {"hub.mode": "subscribe", "hub.verify_token": ""}).status_code == 403


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=00", "sha1=abc", "sha256=ä", None])
def test_a_body_that_is_not_signed_changes_nothing(client: Client, signature: str | None) -> None:
    told()
    before = all_rows()
    content = json.dumps(body_of(messages=[written()], statuses=[status("failed")]))
    headers = {} if signature is None else {"X-Hub-Signature-256": signature}
    answer = client.post(URL, content, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.content.decode()) == (
        403,
        "The signature does not fit the body and WHATSAPP_APP_SECRET.",
    )
    assert all_rows() == before


def test_a_body_that_was_changed_after_signing_changes_nothing(client: Client) -> None:
    told()
    content = json.dumps(body_of(messages=[written()])).encode()
    signature = "sha256=" + hmac.digest(SECRET.encode(), content, "sha256").hex()
    answer = client.post(
        URL, content + b" ", content_type="application/json", headers={"X-Hub-Signature-256": signature}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000),
        *({"object": "page", "entry": []}, {"object": "whatsapp_business_account"}, {"entry": []}),
        *({"object": "whatsapp_business_account"} | entry for entry in each("entry", None, {}, "x", 1)),
    ],
)
def test_a_body_that_is_no_webhook_gets_400(client: Client, body: Any) -> None:
    assert post(client, body)[0] == 400


def test_a_body_that_is_too_large_gets_413(client: Client, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    assert post(client, body_of(messages=[written("x" * 1_000)]))[0] == 413


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_get_405(client: Client, method: str) -> None:
    assert getattr(client, method)(URL).status_code == 405


# Messages.


def test_a_reply_to_the_goodbye_moves_the_user_and_queues_the_answer(client: Client) -> None:
    user = told()
    for _ in range(2):
        assert post(client, body_of(messages=[written("1")])) == (200, "Taken.")
    assert state_of(user) == "help_flow"
    reply = EngagementMessage.objects.get(message_type=MessageType.REPLY)
    assert (reply.message_key, reply.status) == ("engagement.reply.help", "pending")
    assert InboundMessage.objects.count() == 1


def refuse_replies_by_a_constraint() -> None:
    execute(
        "ALTER TABLE engagement_message_queue ADD CONSTRAINT of_the_assistant"
        " CHECK (message_type <> 'reply') NOT VALID"
    )


def refuse_replies_by_a_trigger() -> None:
    on_every("RAISE EXCEPTION 'no replies';", "INSERT ON engagement_message_queue")


@pytest.mark.parametrize("refuse_replies", [refuse_replies_by_a_constraint, refuse_replies_by_a_trigger])
@pytest.mark.parametrize(("words", "state"), [("2", "remind_later"), ("sair", "active")])
def test_what_a_user_says_counts_also_where_the_reply_cannot_be_queued(
    client: Client, words: str, state: str, refuse_replies: Callable[[], None]
) -> None:
    """The assistant's own tables may know no replies. WhatsApp never repeats what got a 200."""
    user = told()
    refuse_replies()
    assert post(client, body_of(messages=[written(words)])) == (200, "Taken.")
    user.user.refresh_from_db()
    assert (state_of(user), user.user.reengagement_opt_out) == (state, words == "sair")
    assert not EngagementMessage.objects.filter(message_type=MessageType.REPLY).exists()


@pytest.mark.parametrize(
    ("answered", "state"), [("wamid.goodbye", "remind_later"), ("wamid.unheard", "active")]
)
def test_a_button_of_the_goodbye_counts_although_the_clocks_differ(
    client: Client, answered: str, state: str
) -> None:
    user = told(retry_count=1)
    claimed_at = goodbye().claimed_at
    assert claimed_at
    earlier = unix(claimed_at - MINUTE)
    button: dict[str, Any] = {
        **BUTTON,
        "context": {"from": "15550783881", "id": answered},
        "timestamp": earlier,
    }
    post(client, body_of(messages=[written(**button)]))
    assert state_of(user) == state


BUTTON: Final = {"type": "button", "text": None, "button": {"payload": "2", "text": "Ando sem tempo"}}
CHOICE: Final = {
    "type": "interactive",
    "text": None,
    "interactive": {"type": "button_reply", "button_reply": {"id": "2", "title": "Ando sem tempo"}},
}
OF_GOODBYE: Final = {"context": {"from": "15550783881", "id": "wamid.goodbye"}}
OF_WELCOME: Final = {"context": {"from": "15550783881", "id": "wamid.welcome"}}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        (BUTTON | OF_GOODBYE, "remind_later"),
        (CHOICE | OF_GOODBYE, "remind_later"),
        (BUTTON, "remind_later"),
        (BUTTON | OF_WELCOME, "active"),
        (BUTTON | {"context": {"from": "15550783881", "id": "wamid.of-the-assistant-s-own"}}, "active"),
        (CHOICE | {"context": {"from": "15550783881", "id": "wamid.of-the-assistant-s-own"}}, "active"),
        # A text that quotes another message is still what the user says.
        ({"text": {"body": "2"}} | OF_WELCOME, "remind_later"),
        ({"type": "image", "text": None, "image": {"id": "9", "caption": "2"}}, "active"),
        ({"type": "reaction", "text": None, "reaction": {"emoji": "👍"}}, "active"),
        ({"type": "reaction", "text": None, "reaction": {"message_id": "wamid.B"}}, "goodbye_sent"),
        (
            {"type": "reaction", "text": None, "reaction": {"message_id": "wamid.B", "emoji": ""}},
            "goodbye_sent",
        ),
        ({"type": "request_welcome", "text": None}, "goodbye_sent"),
        ({"type": "unsupported", "text": None, "errors": [{"code": 131051}]}, "active"),
        ({"type": "button", "text": None, "button": {"text": "3"}}, "dormant"),
    ],
)
def test_buttons_and_other_kinds(client: Client, fields: dict[str, Any], state: str) -> None:
    user = told()
    queue_for(user, MessageType.WELCOME, status=MessageStatus.SENT, provider_message_id="wamid.welcome")
    assert post(client, body_of(messages=[written(**fields)]))[0] == 200
    assert state_of(user) == state


@pytest.mark.parametrize(
    "fields",
    [
        *each("text", {"body": None}, {"body": 5}, {}, "1", ["1"]),
        *(BUTTON | odd for odd in each("button", {"payload": 1}, "1", {"text": None})),
        *(BUTTON | odd for odd in each("context", {"id": ""}, {"id": "a\0"}, {"id": 5}, "x", [])),
        *(CHOICE | odd for odd in each("interactive", {"list_reply": 1}, {"nfm_reply": {}}, "1")),
        *({"text": None} | odd for odd in each("type", None, 5, ["text"])),
    ],
    ids=str,
)
def test_a_message_whose_content_is_not_readable_is_activity(client: Client, fields: dict[str, Any]) -> None:
    user = told()
    post(client, body_of(messages=[written(**fields)]))
    assert state_of(user) == "active"


def test_what_the_user_says_counts_whatever_it_quotes(client: Client) -> None:
    user = told()
    post(client, body_of(messages=[written("2", context={"id": ""})]))
    assert state_of(user) == "remind_later"


@pytest.mark.parametrize(
    ("destination", "text", "state", "is_out"),
    [
        ("individual", "2", "active", False),
        ("individual", "sair", "active", False),
        ("group", "2", "remind_later", False),
        ("group", "sair", "active", True),
    ],
)
def test_what_is_said_in_a_group_counts_where_the_user_wants_our_messages_there(
    client: Client, destination: str, text: str, state: str, *, is_out: bool
) -> None:
    user = told()
    UserProfile.objects.update(preferred_destination=destination)
    post(client, body_of(messages=[written(text, group_id="Y2FwaV9ncm91cDox")]))
    user.user.refresh_from_db()
    assert (state_of(user), user.user.reengagement_opt_out) == (state, is_out)


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        ("5511987654321@s.whatsapp.net", "551187654321"),
        ("551187654321@s.whatsapp.net", "5511987654321"),
        ("+5511987654321", "5511987654321"),
        ("5511987654321@c.us", "5511987654321"),
        ("4915112345678@s.whatsapp.net", "4915112345678"),
        ("+55 11 98765-4321", "5511987654321"),
        ("(55) 11 98765 4321", "551187654321"),
        ("5511987654321:12@s.whatsapp.net", "5511987654321"),
    ],
)
def test_the_user_is_found_by_their_number(client: Client, address: str, sender: str) -> None:
    user = make_user("dormant", user__whatsapp_jid=address)
    post(client, body_of(messages=[written("oi", **{"from": sender})]))
    assert state_of(user) == "active"


@pytest.mark.parametrize("address", ["5511987654321@lid", "5511987654321@g.us"])
def test_a_group_or_an_anonymous_id_with_the_same_digits_is_nobody(client: Client, address: str) -> None:
    user = make_user("dormant", user__whatsapp_jid=address)
    post(client, body_of(messages=[written("oi")]))
    assert state_of(user) == "dormant"


def test_of_two_spellings_the_one_that_was_sent_wins(client: Client) -> None:
    without = make_user("dormant", user__whatsapp_jid="551187654321@s.whatsapp.net")
    with_it = make_user("dormant", user__whatsapp_jid="5511987654321@s.whatsapp.net")
    post(client, body_of(messages=[written("oi", **{"from": "5511987654321"})]))
    assert (state_of(without), state_of(with_it)) == ("dormant", "active")


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [written(**{"from": "4900000000"})]},
        {"messages": [written(type="system", text=None)]},
        {"messages": [written(timestamp="yesterday")]},
        {"messages": [written(timestamp="0")]},
        {"messages": [written(timestamp="9" * 30)]},
        {"messages": [written(timestamp="99999999999")]},
        {"messages": [written(timestamp="1" + "0" * 11)]},
        {"messages": [written(**{"from": "' OR 1=1"})]},
        {"messages": [{}]},
        {"statuses": [status("delivered", id="wamid.of-another-system")]},
        {"statuses": [status("played")]},
        {"statuses": [{"status": "sent"}]},
        {"user_preferences": [{"wa_id": ANA, "category": "marketing_messages", "value": "maybe"}]},
        {},
    ],
)
def test_what_is_unknown_is_counted_and_answered_with_200(client: Client, value: dict[str, Any]) -> None:
    told()
    before = all_rows()
    assert post(client, body_of(**value))[0] == 200
    assert all_rows() == before


def test_a_time_in_milliseconds_is_taken_as_such(client: Client) -> None:
    user = told()
    milliseconds = int(timezone.now().timestamp() * 1000)
    now = datetime.fromtimestamp(milliseconds // 1000, tz=UTC) + timedelta(milliseconds=milliseconds % 1000)
    post(client, body_of(user_preferences=[preference("stop", timestamp=milliseconds)]))
    post(client, body_of(messages=[written("oi", timestamp=str(milliseconds))]))
    user.refresh_from_db()
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out
    assert user.user.opt_out_changed_at == now
    assert (user.state, user.last_activity_at) == ("active", now)


@pytest.mark.parametrize("odd", [{"id": 1}, "x", 5, None, []], ids=str)
def test_one_unreadable_event_keeps_none_from_being_taken(client: Client, odd: Any) -> None:
    user = told()
    assert (
        post(client, body_of(messages=[odd, written("oi")], statuses=[odd], user_preferences=[odd]))[0] == 200
    )
    assert state_of(user) == "active"


@pytest.mark.parametrize(
    "odd",
    [
        *each("value", None, [], "x", {"messages": None}, {"messages": "x"}, {"messages": ["x"]}),
        *each("value", {"statuses": {}}, {"statuses": {"a": 1}}, {"statuses": None}, {"statuses": 3}),
        *(None, "x", [], {}),
    ],
    ids=str,
)
def test_one_unreadable_change_keeps_none_from_being_taken(
    client: Client, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    user, body = told(), body_of(messages=[written("oi")])
    body["entry"][0]["changes"].insert(0, odd)
    body["entry"][:0] = [None, "x", {"changes": None}, {}]
    caplog.set_level("INFO")
    assert post(client, body)[0] == 200
    assert state_of(user) == "active"
    (warning,) = [each for each in caplog.records if "engagement_webhook_unreadable" in each.getMessage()]
    assert warning.levelname == "WARNING"


@pytest.mark.parametrize("metadata", [None, [], "x", {"phone_number_id": int(NUMBER_ID)}, {}], ids=str)
def test_unusual_metadata_keep_no_message_from_being_taken(client: Client, metadata: Any) -> None:
    user = told()
    post(client, body_of(messages=[written("oi")], metadata=metadata))
    assert state_of(user) == "active"


def test_half_an_emoji_is_no_reason_to_lose_a_message(client: Client) -> None:
    user = told()
    post(client, body_of(messages=[written("sair \ud83d", id="wamid.\ud83d")]))
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


CONTACT: Final = {"profile": {"name": "Ana"}, "wa_id": ANA, "user_id": "BR.1"}
OTHER: Final = {"profile": {"name": "Bia"}, "wa_id": "4900000000", "user_id": "BR.2"}


@pytest.mark.parametrize(
    ("own", "contacts", "state"),
    [
        ({"from_user_id": "BR.1"}, [OTHER, CONTACT], "active"),
        ({"from_user_id": "BR.1", "from": ""}, [CONTACT, CONTACT], "active"),
        ({}, [CONTACT], "active"),
        ({"from_user_id": "BR.1"}, [{"wa_id": ANA}], "active"),
        ({"from_user_id": "BR.1"}, ["x", {"wa_id": ANA}], "goodbye_sent"),
        ({"from_user_id": "BR.2"}, [{"wa_id": ANA}, {"user_id": "BR.2"}], "goodbye_sent"),
        ({"from_user_id": "BR.3"}, [OTHER, CONTACT], "goodbye_sent"),
        ({}, [OTHER, CONTACT], "goodbye_sent"),
        ({"from_user_id": "BR.1"}, [{"user_id": "BR.1"}], "goodbye_sent"),
        ({"from_user_id": ["BR.1"]}, None, "goodbye_sent"),
    ],
    ids=str,
)
def test_who_is_named_by_a_business_scoped_id_is_found_by_the_contact(
    client: Client, own: Any, contacts: Any, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = told()
    message = {name: value for name, value in written("oi").items() if name != "from"} | own
    assert post(client, body_of(messages=[message], contacts=contacts))[0] == 200
    assert state_of(user) == state
    warned = [
        record for record in caplog.records if "engagement_webhook_without_number" in record.getMessage()
    ]
    assert len(warned) == (state == "goodbye_sent")


def test_a_preference_without_a_number_is_that_of_the_contact(client: Client) -> None:
    user = told()
    change = {**preference("stop", user_id="BR.1"), "wa_id": None}
    post(client, body_of(user_preferences=[change]))
    user.user.refresh_from_db()
    assert not user.user.reengagement_opt_out
    post(client, body_of(user_preferences=[change], contacts=[CONTACT]))
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


def test_an_event_that_the_database_refuses_keeps_none_from_being_taken(client: Client) -> None:
    user = told(status=MessageStatus.UNKNOWN, provider_message_id=None)
    found = {"biz_opaque_callback_data": f"{goodbye().id}:{goodbye().attempt_id}"}
    broken = status("delivered", id="wamid.\0", **found)
    assert post(client, body_of(statuses=[broken], messages=[written("oi")]))[0] == 200
    assert state_of(user) == "active"


def test_events_of_another_number_of_the_account_are_not_ours(client: Client, settings: Settings) -> None:
    user = told()
    assert post(client, body_of(to="999", messages=[written("oi")]))[0] == 200
    assert state_of(user) == "goodbye_sent"
    settings.WHATSAPP_PHONE_NUMBER_ID = ""
    post(client, body_of(to="999", messages=[written("oi")]))
    assert state_of(user) == "active"


@pytest.mark.parametrize(("state", "statements"), [("active", 10), ("dormant", 14)])
def test_a_message_takes_few_statements(client: Client, state: str, statements: int) -> None:
    make_user(state=state, user__whatsapp_jid=f"{ANA}@s.whatsapp.net")
    post(client, body_of(messages=[written("oi", id="wamid.before")]))
    UserEngagementState.objects.update(state=state)
    with CaptureQueriesContext(connection) as queries:
        post(client, body_of(messages=[written("oi")]))
    # Without the savepoints that stand for the transactions here.
    taken = [query for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(taken) <= statements


# Receipts.


def test_receipts_move_forwards_only(client: Client) -> None:
    told()
    for kind in ("read", "delivered", "sent", "read"):
        assert post(client, body_of(statuses=[status(kind)]))[0] == 200
    message = goodbye()
    assert message.status == "sent"
    assert message.delivered_at
    assert message.read_at
    before = all_rows()
    post(client, body_of(statuses=[status("delivered"), status("sent")]))
    assert all_rows() == before


def test_a_receipt_resolves_a_message_whose_answer_was_lost(client: Client) -> None:
    told(status=MessageStatus.UNKNOWN, provider_message_id=None, sent_at=None)
    message = goodbye()
    data = f"{message.id}:{message.attempt_id}"
    post(client, body_of(statuses=[status("sent", biz_opaque_callback_data=data)]))
    assert (goodbye().status, goodbye().provider_message_id) == ("sent", "wamid.goodbye")


def test_a_failure_of_the_account_pauses_and_a_refusal_opts_out(client: Client) -> None:
    user = told()
    post(client, body_of(statuses=[status("failed", errors=[{"code": 131031, "title": "Locked"}])]))
    assert SendingChannel.objects.get().paused_until
    message = goodbye()
    assert (message.status, message.error_code) == ("sent", "131031")
    assert message.failed_at
    EngagementMessage.objects.update(failed_at=None)
    post(client, body_of(statuses=[status("failed", errors=[{"code": 131050}])]))
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


@pytest.mark.parametrize(
    "errors", [None, {"code": 131031}, [{"title": "x"}, {"code": 131031}], ["x"]], ids=str
)
def test_a_receipt_counts_whatever_else_it_says(client: Client, errors: Any) -> None:
    told()
    post(client, body_of(statuses=[status("failed", errors=errors, biz_opaque_callback_data=5)]))
    assert goodbye().failed_at
    assert SendingChannel.objects.exists() == ("131031" in str(errors))


# Preferences.


def preference(value: str, **fields: Any) -> dict[str, Any]:
    now = int(timezone.now().timestamp())
    return {
        "wa_id": ANA,
        "detail": "User requested to stop marketing messages",
        "category": "marketing_messages",
        "value": value,
        "timestamp": now,
        **fields,
    }


def test_who_stops_marketing_messages_is_opted_out_until_they_resume(client: Client) -> None:
    user = told()
    now = int(timezone.now().timestamp())
    for value, at, is_out in (("stop", now - 60, True), ("resume", now, False)):
        post(client, body_of(user_preferences=[preference(value, timestamp=at)]))
        user.user.refresh_from_db()
        assert user.user.reengagement_opt_out is is_out
    assert stored(user)["state"] == "goodbye_sent"


def test_an_old_resume_does_not_undo_a_later_stop(client: Client) -> None:
    user = told()
    post(client, body_of(user_preferences=[preference("stop")]))
    old = int(timezone.now().timestamp()) - 3_600
    post(client, body_of(user_preferences=[preference("resume", timestamp=old)]))
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


# When something is in the way.


def test_if_the_database_is_away_whatsapp_is_asked_to_repeat(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_values: object) -> None:
        raise OperationalError("server closed the connection; secret-host")

    monkeypatch.setattr("engagement.api.webhook.receive_and_reply", away)
    told()
    assert post(client, body_of(messages=[written()])) == (
        503,
        "Not all events were recorded; send them again.",
    )


def test_a_wrong_setting_loses_no_message(client: Client, settings: Settings) -> None:
    user = told()
    settings.ENGAGEMENT_BATCH_SIZE = "many"
    assert post(client, body_of(messages=[written("sair")]))[0] == 503
    settings.ENGAGEMENT_BATCH_SIZE = ""
    assert post(client, body_of(messages=[written("sair")]))[0] == 200
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out


def test_one_event_that_is_not_taken_keeps_the_others_from_waiting(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = told()

    def crash(**_values: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("engagement.api.webhook.set_preference", crash)
    body = body_of(messages=[written("oi")], user_preferences=[preference("stop")])
    assert post(client, body)[0] == 503
    assert state_of(user) == "active"


def test_logs_hold_no_number_no_text_and_no_id(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    told()
    caplog.set_level("DEBUG")
    post(
        client, body_of(messages=[written("minha senha")], statuses=[status("failed", errors=[{"code": 1}])])
    )
    assert "engagement_webhook_taken" in caplog.text
    for secret in (ANA, ANA[2:], "minha senha", "wamid"):
        assert secret not in caplog.text


@pytest.mark.parametrize("code", ["26000", "25P02", "XX002", "0A000", "54000", "55000", "42501"])
def test_an_error_that_is_not_about_what_was_said_is_answered_so_that_it_is_repeated(
    client: Client, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Such as a statement that a pooler has forgotten, or a damaged index."""

    def fail(**_values: object) -> None:
        raise DatabaseError from psycopg.errors.lookup(code)("broken")

    told()
    monkeypatch.setattr(webhook, "receive_and_reply", fail)
    assert post(client, body_of(messages=[written("sair")]))[0] == 503
