"""The backend of Evolution API: only a few of its answers are definite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest
from django.core.exceptions import ImproperlyConfigured

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown, configured_backend
from engagement.message_backends.evolution import EvolutionBackend
from tests.integration.delivery.servers import SICK, raw_server, whole
from tests.integration.delivery.test_whatsapp_cloud import outgoing

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pytest_django.fixtures import Settings

    from engagement.message_backends.base import SendOutcome

KEY: Final = "B6D711FC-secret"


@pytest.fixture(autouse=True)
def evolution(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.evolution.EvolutionBackend"
    settings.EVOLUTION_URL, settings.EVOLUTION_API_KEY = "https://gateway.example.org", KEY
    settings.EVOLUTION_INSTANCE = "main number"


def outcome_of(
    settings: Settings, answer: Callable[[socket.socket], None]
) -> tuple[SendOutcome, list[bytes]]:
    with raw_server(answer) as server:
        settings.EVOLUTION_URL = f"{server.url}/"
        return EvolutionBackend().send(outgoing(text="Oi! Já faz um tempo.")), server.requests


def test_a_message_is_free_text_to_an_address(settings: Settings) -> None:
    answer = {"key": {"id": "BAE594145F4C59B4", "fromMe": True}, "status": "PENDING"}
    outcome, (request,) = outcome_of(settings, whole("201 Created", json.dumps(answer).encode()))
    assert outcome == Accepted("BAE594145F4C59B4")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /message/sendText/main%20number ")
    assert f"apikey: {KEY}".encode() in head
    assert json.loads(body) == {"number": "5511987654321@s.whatsapp.net", "text": "Oi! Já faz um tempo."}


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_a_redirect_is_a_matter_of_configuration(settings: Settings, status: str) -> None:
    moved = whole(status, b"", "Location: https://gateway.example.org/message/sendText/main")
    outcome, requests = outcome_of(settings, moved)
    assert (outcome, len(requests)) == (Refused(Scope.CONFIGURATION, f"http_{status[:3]}"), 1)


@pytest.mark.parametrize("message_id", ["", "a\0b", "\ud83d"], ids=["empty", "NUL", "half"])
def test_an_id_that_cannot_be_stored_is_left_out(settings: Settings, message_id: str) -> None:
    body = json.dumps({"key": {"id": message_id}}).encode()
    assert outcome_of(settings, whole("201 Created", body))[0] == Accepted(None)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
def test_a_wrong_key_or_instance_is_a_matter_of_configuration(settings: Settings, status: str) -> None:
    outcome, _ = outcome_of(settings, whole(status, b"{}"))
    assert outcome == Refused(Scope.CONFIGURATION, f"http_{status[:3]}")


def test_a_number_without_whatsapp_is_refused_for_good(settings: Settings) -> None:
    answer = {"status": 400, "response": {"message": [{"exists": False, "number": "5511987654321"}]}}
    outcome, _ = outcome_of(settings, whole("400 Bad Request", json.dumps(answer).encode()))
    assert outcome == Refused(Scope.RECIPIENT, "not_on_whatsapp")


@pytest.mark.parametrize(
    "message",
    [[['instance requires property "number"']], ["instance.text does not meet minimum length of 1"]],
)
def test_a_body_that_the_gateway_does_not_understand_was_certainly_not_sent(
    settings: Settings, message: object
) -> None:
    answer = {"status": 400, "error": "Bad Request", "response": {"message": message}}
    outcome, _ = outcome_of(settings, whole("400 Bad Request", json.dumps(answer).encode()))
    assert outcome == Refused(Scope.RECIPIENT_LATER, "invalid_request")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 Bad Request", b'{"response": {"message": ["Error: Connection Closed"]}}'),
        ("400 Bad Request", b'{"response": {"message": ["instance main is not connected"]}}'),
        ("400 Bad Request", b'{"response": {"message": [{"exists": true}]}}'),
        ("400 Bad Request", b"[1]"),
        ("500 Internal Server Error", b"{}"),
        ("303 See Other", b""),
        ("304 Not Modified", b""),
        ("201 Created", b"{}"),
        ("200 OK", b"<html>"),
    ],
)
def test_any_other_answer_is_unknown(settings: Settings, status: str, body: bytes) -> None:
    outcome, requests = outcome_of(settings, whole(status, body))
    assert isinstance(outcome, Unknown)
    assert len(requests) == 1


@pytest.mark.parametrize("treat", SICK.values(), ids=SICK)
def test_a_lost_answer_is_unknown(settings: Settings, treat: Callable[[socket.socket], None]) -> None:
    settings.ENGAGEMENT_SEND_TIMEOUT_SECONDS = 1
    outcome, requests = outcome_of(settings, treat)
    assert isinstance(outcome, Unknown)
    assert len(requests) == 1


def test_complete_settings_are_accepted() -> None:
    assert isinstance(configured_backend(), EvolutionBackend)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("EVOLUTION_URL", "", "EVOLUTION_URL must be set"),
        ("EVOLUTION_URL", "gateway.example.org", "EVOLUTION_URL must be the address of the gateway"),
        ("EVOLUTION_URL", "http://gate way:80", "EVOLUTION_URL must be the address of the gateway"),
        ("EVOLUTION_URL", "http://host/?x=1", "EVOLUTION_URL must be the address of the gateway"),
        ("EVOLUTION_URL", "http://host/#x", "EVOLUTION_URL must be the address of the gateway"),
        ("EVOLUTION_URL", "http://user:pw@host", "EVOLUTION_URL must be the address of the gateway"),
        ("EVOLUTION_API_KEY", "", "EVOLUTION_API_KEY must be set"),
        ("EVOLUTION_API_KEY", "two\nlines", "EVOLUTION_API_KEY must be one line of plain"),
        ("EVOLUTION_INSTANCE", "", "EVOLUTION_INSTANCE must be set"),
    ],
)
def test_a_start_without_what_it_needs_is_refused(
    settings: Settings, name: str, value: str, problem: str
) -> None:
    setattr(settings, name, value)
    with pytest.raises(ImproperlyConfigured, match=problem):
        configured_backend()
