"""`manage.py receive_message` with texts from stdin: what a command line would show to every account."""

from __future__ import annotations

import json
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

from engagement.models import UserEngagementState, UserProfile
from tests.database import another_connection, execute, lose_connection_at_first_move
from tests.factories import NOW, make_user
from tests.running import Outcome, run_command

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

AT = "2026-03-02T03:00:00-03:00"


def run_with(monkeypatch: pytest.MonkeyPatch, stdin: bytes, *arguments: str) -> Outcome:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin)))
    return run_command("receive_message", *arguments)


def line(user: Any, text: object, **fields: object) -> bytes:
    return json.dumps({"user_id": str(user.user_id), "text": text, "at": AT, **fields}).encode() + b"\n"


@pytest.mark.parametrize("stdin", [b"stop", b"stop\n", "STOP🛑\n".encode(), b"\xff stop"[2:]])
def test_text_is_read_from_stdin(monkeypatch: pytest.MonkeyPatch, stdin: bytes) -> None:
    user = make_user()
    outcome = run_with(monkeypatch, stdin, str(user.user_id), "-", "--at", AT, "--json")
    assert outcome.json["preference"] == "opted_out"


def test_same_text_from_stdin_and_from_the_command_line_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = make_user("dormant")
    run_command("receive_message", str(user.user_id), "oi", "--at", AT)
    outcome = run_with(monkeypatch, b"oi\n", str(user.user_id), "-", "--at", AT, "--json")
    assert outcome.json["novelty"] == "repeat"


@pytest.mark.parametrize("stdin", [b"", b"\xff\xfe\x00", b"x" * 300_000])
def test_any_text_of_any_length_is_accepted(monkeypatch: pytest.MonkeyPatch, stdin: bytes) -> None:
    user = make_user("dormant")
    assert run_with(monkeypatch, stdin, str(user.user_id), "-").code == 0
    assert UserEngagementState.objects.get().state == "active"


def test_many_messages_are_read_as_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    ana, ben = make_user("dormant"), make_user()
    stdin = line(ana, "oi") + b"\n" + line(ben, "x" * 200_000 + "é") + line(ben, "sair")
    outcome = run_with(monkeypatch, stdin, "--json-lines")
    reports = [json.loads(text) for text in outcome.out.splitlines()]
    assert (outcome.code, outcome.err) == (0, "")
    assert [(report["user_id"], report["preference"]) for report in reports] == [
        (str(ana.user_id), None),
        (str(ben.user_id), None),
        (str(ben.user_id), "opted_out"),
    ]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"oi\n", "this is not a JSON object."),
        (b"\xff\n", "this is not a JSON object."),
        (b"[" * 100_000 + b"\n", "this is not a JSON object."),
        (b"[]\n", "a JSON object with user_id and text, and perhaps at, is needed."),
        (
            b'{"user_id": "45c65b47-b8a9-4c07-9e4d-c34a30565eef", "text": "oi", "time": "x"}\n',
            "unknown name 'time'; the names are user_id, text and at.",
        ),
        *(
            (
                b'{"user_id": "45c65b47-b8a9-4c07-9e4d-c34a30565eef", "text": "oi", "at": %s}\n' % at,
                "at must be a time in ISO 8601 with an offset.",
            )
            for at in (b'""', b"0", b"false")
        ),
        (b'{"user_id": 7, "text": "oi"}\n', "user_id must be a UUID."),
        (b'{"text": "oi"}\n', "user_id must be a UUID."),
        (b'{"user_id": "5511987654321", "text": "oi"}\n', "user_id must be a UUID."),
        (
            b'{"user_id": "45c65b47-b8a9-4c07-9e4d-c34a30565eef", "text": "oi", "at": 7}\n',
            "at must be a time in ISO 8601 with an offset.",
        ),
        (
            b'{"user_id": "45c65b47-b8a9-4c07-9e4d-c34a30565eef", "text": "oi"}\n',
            "There is no user 45c65b47-b8a9-4c07-9e4d-c34a30565eef; add a row to user_profiles first.",
        ),
    ],
)
def test_bad_line_is_reported_and_the_others_are_processed(
    monkeypatch: pytest.MonkeyPatch, bad: bytes, sentence: str
) -> None:
    user = make_user()
    outcome = run_with(monkeypatch, bad + line(user, "stop"), "--json-lines")
    assert outcome.code == 3
    assert json.loads(outcome.out.splitlines()[0]) == {"line": 1, "error": sentence}
    assert f"receive_message: line 1: {sentence}" in outcome.err
    assert UserProfile.objects.get(pk=user.user_id).reengagement_opt_out


@pytest.mark.usefixtures("committed")
def test_a_locked_user_keeps_no_other_from_being_heard(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENGAGEMENT_LOCK_TIMEOUT_SECONDS = 1
    ana, ben = make_user(), make_user()
    with another_connection(autocommit=False) as other:
        other.execute("SELECT FROM user_engagement_states WHERE user_id = %s FOR UPDATE", [ana.user_id])
        outcome = run_with(monkeypatch, line(ana, "oi") + line(ben, "sair"), "--json-lines")
    assert outcome.code == 3
    first, second = (json.loads(text) for text in outcome.out.splitlines())
    assert first["line"] == 1
    assert first["error"].startswith("Other programs kept the database busy for too long: canceling")
    assert second["preference"] == "opted_out"


@pytest.mark.usefixtures("committed")
def test_an_outage_is_waited_for_and_then_names_the_line(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    ana, ben = make_user(), make_user()
    lines = line(ana, "oi") + line(ben, "sair")
    lose_connection_at_first_move()
    assert run_with(monkeypatch, line(make_user("dormant"), "oi") + lines, "--json-lines").code == 0
    assert UserProfile.objects.get(pk=ben.user_id).reengagement_opt_out
    settings.ENGAGEMENT_RECONNECT_LIMIT_SECONDS = 0
    execute("ALTER SEQUENCE faults RESTART")
    outcome = run_with(monkeypatch, b"bad\n" + lines, "--json-lines")
    assert (outcome.code, len(outcome.out.splitlines())) == (1, 1)
    assert "Line 2 may not have been processed, and those after it were not; " in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("45c65b47-b8a9-4c07-9e4d-c34a30565eef",),
        ("--json-lines", "45c65b47-b8a9-4c07-9e4d-c34a30565eef"),
        ("--json-lines", "--at", AT),
    ],
)
def test_missing_or_contradictory_arguments_are_one_sentence(arguments: tuple[str, ...]) -> None:
    outcome = run_command("receive_message", *arguments)
    assert outcome.code == 2
    assert outcome.err.endswith(". Try --help.")
    assert len(outcome.err.splitlines()) == 1


def test_time_ahead_of_the_clock_counts_as_now() -> None:
    user = make_user("dormant")
    with freeze_time(NOW):
        year_ahead = (NOW + timedelta(days=365)).isoformat()
        run_command("receive_message", str(user.user_id), "voltar", "--at", year_ahead)
        assert UserEngagementState.objects.get().last_activity_at == NOW
    with freeze_time(NOW + timedelta(minutes=1)):
        outcome = run_command("receive_message", str(user.user_id), "sair", "--json")
    assert outcome.json["preference"] == "opted_out"
    assert UserProfile.objects.get().reengagement_opt_out
