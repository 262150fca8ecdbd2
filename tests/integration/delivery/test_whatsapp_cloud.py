"""The backend of WhatsApp's Cloud API, against a server that speaks its format."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.core.exceptions import ImproperlyConfigured
from jsonschema import Draft202012Validator
from uuid_utils.compat import uuid7

from engagement import message_catalogue
from engagement.message_backends.base import (
    Accepted,
    OutgoingMessage,
    Refused,
    Scope,
    Unknown,
    configured_backend,
)
from engagement.message_backends.whatsapp_cloud import CloudSettings, WhatsAppCloudBackend, refusal_of
from engagement.message_catalogue import GOODBYE
from engagement.sandbox.server import Answer, WhatsAppSandbox
from tests.integration.delivery.servers import SICK, raw_server, whole
from tests.running import PROJECT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import Settings

PATH: Final = "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
TEMPLATES: Final = {
    GOODBYE: {
        "pt-BR": {"name": "goodbye_v1", "language": "pt_BR"},
        "en": {"name": "goodbye_v1", "language": "en_US", "endpoint": "marketing_messages"},
    },
    "app.review": {"pt-BR": {"name": "review", "language": "pt_BR"}},
}
TOKEN: Final = "EAAG-secret"  # noqa: S105  no real one


def schema_of(name: str) -> Draft202012Validator:
    """A part of Meta's published document."""
    document = json.loads((PROJECT / "tests/fixtures/whatsapp_cloud_api.json").read_text())
    return Draft202012Validator(document | {"$ref": f"#/$defs/{name}"})


@pytest.fixture
def sandbox() -> Iterator[WhatsAppSandbox]:
    with WhatsAppSandbox().running() as running:
        yield running


def backend_for(url: str, **changes: Any) -> WhatsAppCloudBackend:
    values = {"url": url, "version": "v23.0", "phone_number_id": "4711", "token": TOKEN}
    return WhatsAppCloudBackend(CloudSettings(templates=json.dumps(TEMPLATES), **values | changes))


def outgoing(**changes: Any) -> OutgoingMessage:
    message_id, attempt_id = uuid7(), uuid7()
    values: dict[str, Any] = {
        "message_id": message_id,
        "attempt_id": attempt_id,
        "user_id": uuid7(),
        "to": "5511987654321@s.whatsapp.net",
        "message_type": "goodbye",
        "message_key": GOODBYE,
        "params": {},
        "language": "pt-br",
        "text": "Oi!",
        "callback_data": f"{message_id}:{attempt_id}",
    }
    return OutgoingMessage(**values | changes)


def test_a_goodbye_is_a_template_with_three_buttons(sandbox: WhatsAppSandbox) -> None:
    message = outgoing()
    outcome = backend_for(sandbox.url).send(message)
    (received,) = sandbox.messages
    assert outcome == Accepted(received.provider_message_id)
    assert received.to == "5511987654321"
    assert received.callback_data == message.callback_data
    template = received.body["template"]
    assert (template["name"], template["language"]["code"]) == ("goodbye_v1", "pt_BR")
    payloads = [button["parameters"][0]["payload"] for button in template["components"]]
    assert payloads == ["1", "2", "3"]
    schema_of("TemplateMessage").validate(received.body)


def test_a_template_for_marketing_has_its_own_endpoint(sandbox: WhatsAppSandbox) -> None:
    backend_for(sandbox.url).send(outgoing(language="en"))
    (received,) = sandbox.messages
    assert received.endpoint == "marketing_messages"
    assert received.body["template"]["language"]["code"] == "en_US"
    schema_of("MarketingMessageRequestPayload").validate(received.body)


def test_the_parameters_of_a_message_fill_its_template(sandbox: WhatsAppSandbox) -> None:
    message = outgoing(message_type="weekly_review", message_key="app.review", params={"tasks": 3})
    backend_for(sandbox.url).send(message)
    (received,) = sandbox.messages
    assert received.body["template"]["components"] == [
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "tasks", "text": "3"}]}
    ]
    schema_of("TemplateMessage").validate(received.body)


def test_a_reply_is_free_text(sandbox: WhatsAppSandbox) -> None:
    message = outgoing(message_type="reply", message_key=message_catalogue.HELP, text="No problem")
    backend_for(sandbox.url).send(message)
    (received,) = sandbox.messages
    assert received.body["text"] == {"body": "No problem"}
    schema_of("TextMessage").validate(received.body)


def test_a_message_without_a_template_is_refused_and_not_sent(sandbox: WhatsAppSandbox) -> None:
    outcome = backend_for(sandbox.url).send(outgoing(message_key="app.unknown"))
    assert outcome == Refused(Scope.TEMPLATE, "no_template")
    assert sandbox.messages == []


def test_the_token_is_in_the_header_and_nowhere_else() -> None:
    with raw_server(whole("200 OK", b'{"messages": [{"id": "wamid.1"}]}')) as server:
        backend = backend_for(server.url)
        assert backend.send(outgoing()) == Accepted("wamid.1")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert f"Authorization: Bearer {TOKEN}".encode() in head
    assert head.startswith(b"POST /v23.0/4711/messages ")
    assert TOKEN.encode() not in body
    assert TOKEN not in repr(backend._settings)


@pytest.mark.parametrize(
    "address",
    ["123456789012345@lid", "120363025246125486@g.us", "abc@s.whatsapp.net", "1234", "1" * 16, "²³⁴⁵⁶⁷"],
)
def test_what_is_no_phone_number_is_refused_and_not_sent(sandbox: WhatsAppSandbox, address: str) -> None:
    outcome = backend_for(sandbox.url).send(outgoing(to=address))
    assert outcome == Refused(Scope.RECIPIENT, "not_a_number")
    assert sandbox.messages == []


def test_an_address_of_a_linked_device_is_the_same_number(sandbox: WhatsAppSandbox) -> None:
    backend_for(sandbox.url).send(outgoing(to="5511987654321:12@s.whatsapp.net"))
    assert sandbox.messages[0].to == "5511987654321"


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        (190, Scope.CONFIGURATION),
        (10, Scope.CONFIGURATION),
        (3, Scope.CONFIGURATION),
        (131005, Scope.CONFIGURATION),
        (131042, Scope.CONFIGURATION),
        (133010, Scope.CONFIGURATION),
        (131063, Scope.CONFIGURATION),
        (368, Scope.ACCOUNT),
        (131031, Scope.ACCOUNT),
        (131048, Scope.ACCOUNT),
        (131064, Scope.ACCOUNT),
        (132000, Scope.TEMPLATE),
        (132001, Scope.TEMPLATE),
        (132015, Scope.TEMPLATE),
        (132016, Scope.TEMPLATE),
        (4, Scope.THROTTLE),
        (80007, Scope.THROTTLE),
        (130429, Scope.THROTTLE),
        (131000, Scope.PLATFORM),
        (131016, Scope.PLATFORM),
        (131057, Scope.PLATFORM),
        (131026, Scope.RECIPIENT),
        (131021, Scope.RECIPIENT),
        (131030, Scope.RECIPIENT),
        (131047, Scope.RECIPIENT),
        (131051, Scope.RECIPIENT),
        (130472, Scope.RECIPIENT),
        (131056, Scope.RECIPIENT_LATER),
        (131049, Scope.RECIPIENT_LATER),
        (100, Scope.RECIPIENT_LATER),
        (131050, Scope.OPTED_OUT),
    ],
)
def test_the_code_of_an_error_says_what_it_is_about(
    sandbox: WhatsAppSandbox, code: int, scope: Scope
) -> None:
    sandbox.respond = lambda _message: Answer.error(code, status=500)
    outcome = backend_for(sandbox.url).send(outgoing())
    assert isinstance(outcome, Refused)
    assert (outcome.scope, outcome.code) == (scope, str(code))


def test_a_wrong_phone_number_id_is_a_matter_of_configuration(sandbox: WhatsAppSandbox) -> None:
    body = {"error": {"message": "", "code": 100, "error_subcode": 33}}
    sandbox.respond = lambda _message: Answer(400, body)
    assert backend_for(sandbox.url).send(outgoing()) == Refused(Scope.CONFIGURATION, "33")


@pytest.mark.parametrize(
    ("header", "wait"), [("30", timedelta(seconds=30)), ("soon", None), ("-1", None), ("9999999", None)]
)
def test_retry_after_is_kept_if_it_is_a_number_of_seconds(
    sandbox: WhatsAppSandbox, header: str, wait: timedelta | None
) -> None:
    sandbox.respond = lambda _message: Answer.error(130429, status=429, Retry_After=header)
    outcome = backend_for(sandbox.url).send(outgoing())
    assert isinstance(outcome, Refused)
    assert outcome.retry_after == wait


@pytest.mark.parametrize(
    ("header", "wait"), [("60", timedelta(days=1)), ("90000", timedelta(seconds=90_000))]
)
def test_the_longer_of_retry_after_and_the_codes_own_wait_counts(header: str, wait: timedelta) -> None:
    assert refusal_of(131049, retry_after=header) == Refused(Scope.RECIPIENT_LATER, "131049", wait)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (502, b"<html>Bad Gateway</html>"),
        (200, b"<html>A hotel's login page</html>"),
        (200, b'{"messages": []}'),
        (200, b'{"messages": [{"id": 5}]}'),
        (200, b"[1]"),
        (200, b"[" * 60_000),
        (302, b""),
        (400, b'{"error": "a sentence"}'),
        (400, b'{"error": {"code": "131026"}}'),
        (400, b'{"error": {"code": 999999}}'),
        (400, b'{"error": {"code": false}}'),
        (400, b'{"error": {"code": ' + b"1" * 4_000 + b"}}"),
    ],
)
def test_an_answer_that_says_too_little_is_unknown(
    sandbox: WhatsAppSandbox, status: int, body: bytes
) -> None:
    sandbox.respond = lambda _message: Answer(status, body, {"Location": "/elsewhere"})
    assert isinstance(backend_for(sandbox.url).send(outgoing()), Unknown)
    assert len(sandbox.messages) == 1


@pytest.mark.parametrize("found", ["wamid.\\u0000", "\\ud83d"])
def test_an_id_that_cannot_be_stored_is_left_out(sandbox: WhatsAppSandbox, found: str) -> None:
    body = f'{{"messages": [{{"id": "{found}"}}]}}'.encode()
    sandbox.respond = lambda _message: Answer(200, body, {})
    assert backend_for(sandbox.url).send(outgoing()) == Accepted(None)


@pytest.mark.parametrize("treat", SICK.values(), ids=SICK)
def test_a_lost_answer_is_unknown(settings: Settings, treat: Callable[[socket.socket], None]) -> None:
    settings.ENGAGEMENT_SEND_TIMEOUT_SECONDS = 1
    with raw_server(treat) as server:
        assert isinstance(backend_for(server.url).send(outgoing()), Unknown)
    assert len(server.requests) == 1


def test_a_server_that_is_away_is_no_fault_of_the_message() -> None:
    with raw_server(lambda _client: None) as server:
        url = server.url
    outcome = backend_for(url).send(outgoing())
    assert isinstance(outcome, Refused)
    assert outcome.scope is Scope.CONNECTION


def complete(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = PATH
    settings.WHATSAPP_PHONE_NUMBER_ID, settings.WHATSAPP_ACCESS_TOKEN = "4711", TOKEN
    settings.WHATSAPP_TEMPLATES = json.dumps(TEMPLATES)


def test_complete_settings_are_accepted(settings: Settings) -> None:
    complete(settings)
    assert isinstance(configured_backend(), WhatsAppCloudBackend)


def test_a_start_needs_the_goodbye_in_the_default_language_alone(settings: Settings) -> None:
    complete(settings)
    portuguese = {"pt-BR": {"name": "goodbye_v1", "language": "pt_BR"}}
    settings.WHATSAPP_TEMPLATES = json.dumps({GOODBYE: portuguese})
    backend = configured_backend()
    assert backend.send(outgoing(language="en")) == Refused(Scope.TEMPLATE, "no_template")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("WHATSAPP_PHONE_NUMBER_ID", "", "WHATSAPP_PHONE_NUMBER_ID must be set"),
        ("WHATSAPP_ACCESS_TOKEN", "", "WHATSAPP_ACCESS_TOKEN must be set"),
        ("WHATSAPP_API_URL", "http://graph.facebook.com", "WHATSAPP_API_URL must begin with https://"),
        ("WHATSAPP_API_URL", "http://localhost.evil.example", "WHATSAPP_API_URL must begin with https://"),
        ("WHATSAPP_TEMPLATES", "", "must have a template of engagement.goodbye.self_select"),
        ("WHATSAPP_TEMPLATES", "{", "WHATSAPP_TEMPLATES must be a JSON object"),
        ("WHATSAPP_TEMPLATES", "[]", "WHATSAPP_TEMPLATES must be a JSON object"),
        ("WHATSAPP_TEMPLATES", '{"a": {"en": {}}}', "WHATSAPP_TEMPLATES must be a JSON object"),
        ("WHATSAPP_TEMPLATES", '{"a": {"en": {"name": 1, "language": "en"}}}', "must be a JSON object"),
        (
            "WHATSAPP_TEMPLATES",
            '{"a": {"en": {"name": "a", "language": "en", "endpoint": "x"}}}',
            "must be a JSON object",
        ),
        (
            "WHATSAPP_TEMPLATES",
            json.dumps({GOODBYE: {"en": {"name": "goodbye", "language": "en"}}}),
            "for the language pt-BR",
        ),
        ("WHATSAPP_ACCESS_TOKEN", "two\nlines", "WHATSAPP_ACCESS_TOKEN must be one line of plain"),
    ],
)
def test_a_start_without_what_it_needs_is_refused(
    settings: Settings, name: str, value: str, problem: str
) -> None:
    complete(settings)
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        configured_backend()
    assert problem in str(refusal.value)
    assert TOKEN not in str(refusal.value)
