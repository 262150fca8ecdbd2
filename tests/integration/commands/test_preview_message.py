"""`manage.py preview_message`: prints the text and nothing else, in any encoding of stdout."""

from __future__ import annotations

import pytest

from engagement import message_catalogue as messages
from tests.running import run_command, run_process


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ((), "Oi! Faz um tempo"),
        (("--locale", "pt"), "Oi! Faz um tempo"),
        (("--locale", ""), "Oi! Faz um tempo"),
        (("--locale", "xx"), "Oi! Faz um tempo"),
        (("--locale", "en_US"), "Hi! It's been a while"),
        (("--locale=en", "--params={}"), "Hi! It's been a while"),
    ],
)
def test_text_is_printed_in_the_language_of_the_locale(options: tuple[str, ...], beginning: str) -> None:
    outcome = run_command("preview_message", messages.GOODBYE, *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(beginning)
    assert len(outcome.out.splitlines()) == 9


def test_parameters_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_texts", {"assistant.hello": "Hello %(name)s"})
    outcome = run_command("preview_message", "assistant.hello", '--params={"name": "Ana \\ud800"}')
    assert outcome.out == "Hello Ana \\ud800\n"


def test_missing_parameter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_texts", {"assistant.hello": "Hello %(name)s"})
    outcome = run_command("preview_message", "assistant.hello")
    assert outcome == ("", "Wrong parameters for the message 'assistant.hello': 'name' is missing.", 2)


@pytest.mark.django_db
def test_characters_that_stdout_cannot_encode_are_escaped() -> None:
    outcome = run_process("preview_message", messages.DOOR_IS_OPEN, PYTHONIOENCODING="ascii")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Que bom! N\\xe3o vou incomodar." in outcome.out
