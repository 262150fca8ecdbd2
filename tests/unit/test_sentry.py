"""What Sentry gets: no request, no variables, no number."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
import sentry_sdk
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.transport import Transport

from config.sentry import configure_sentry, scrubbed


class Kept(Transport):
    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


def test_without_a_dsn_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentry_sdk, "init", lambda **_options: pytest.fail("set up"))
    configure_sentry("", release="engagement@1")


def test_a_wrong_dsn_and_a_missing_package_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="must be the DSN"):
        configure_sentry("not a dsn", release="engagement@1")
    real = builtins.__import__

    def without_sentry(name: str, *values: Any) -> Any:
        if name.startswith("sentry_sdk"):
            raise ImportError(name)
        return real(name, *values)

    monkeypatch.setattr(builtins, "__import__", without_sentry)
    with pytest.raises(ImproperlyConfigured, match="pip install sentry-sdk"):
        configure_sentry("https://key@sentry.example.org/1", release="engagement@1")


def test_an_error_is_sent_without_its_number_or_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = Kept()
    init = sentry_sdk.init
    monkeypatch.setattr(sentry_sdk, "init", lambda **options: init(**options, transport=transport))
    try:
        configure_sentry("https://key@sentry.example.org/1", release="engagement@1")
        try:
            fail_for("5511987654321@s.whatsapp.net")
        except ValueError as error:
            sentry_sdk.capture_exception(error)
    finally:
        init(dsn=None)
    (event,) = transport.events
    (exception,) = event["exception"]["values"]
    assert exception["value"] == "cannot reach [address]"
    assert "5511987654321" not in str(event)
    assert all("vars" not in frame for frame in exception["stacktrace"]["frames"])


def test_the_ids_of_an_event_stay() -> None:
    event_id, trace = "9f12345678901234567890123456abcd", {"trace_id": "12345678901234567890123456789012"}
    event = {"event_id": event_id, "contexts": {"trace": trace, "runtime": {"name": "CPython"}}}
    assert scrubbed(dict(event)) == event


def fail_for(address: str) -> None:
    raise ValueError(f"cannot reach {address}")


def test_requests_and_users_are_left_out() -> None:
    event = {"request": {"url": "/x"}, "user": {"id": 1}, "message": "call +55 11 98765-4321", "tags": ["ok"]}
    assert scrubbed(event) == {"message": "call [number]", "tags": ["ok"]}
