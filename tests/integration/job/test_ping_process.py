"""Each ping is a process of its own: what becomes of a run when that process fares ill."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pytest

from engagement.services.job import heartbeat
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django.fixtures import Settings

    Programs = Callable[[str], None]

pytestmark = pytest.mark.django_db

TIMES_PINGED: Final = 2


@pytest.fixture(autouse=True)
def _heartbeat(settings: Settings) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = "https://example.org/secret-id"


@pytest.fixture
def pings_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Puts a program in the place of the one that pings."""

    def do(body: str) -> None:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o700)
        monkeypatch.setattr("sys.executable", str(program))

    return do


def complaints(caplog: pytest.LogCaptureFixture) -> list[Any]:
    messages = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [message["error"] for message in messages if message["event"] == "engagement_heartbeat_failed"]


def test_ping_that_cannot_even_be_sent_changes_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert run_job().status == "succeeded"
    assert complaints(caplog) == ["FileNotFoundError"] * TIMES_PINGED


def test_ping_that_never_ends_is_given_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, pings_do: Programs
) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS_PER_PING", 0.1)
    monkeypatch.setattr(heartbeat, "SECONDS_TO_END", 0.1)
    pings_do("exec sleep 60")
    assert run_job().status == "succeeded"
    assert complaints(caplog) == ["TimeoutExpired"] * TIMES_PINGED


@pytest.mark.parametrize(
    ("last_words", "error"),
    [("echo no memory >&2; exit 1", "no memory"), ("exit 7", "the process ended with code 7")],
)
def test_ping_that_fails_is_logged_with_its_last_words(
    caplog: pytest.LogCaptureFixture, pings_do: Programs, last_words: str, error: str
) -> None:
    pings_do(last_words)
    assert run_job().status == "succeeded"
    assert complaints(caplog) == [error] * TIMES_PINGED


def test_ctrl_c_that_ends_a_run_spares_the_ping_that_tells_of_it(tmp_path: Path, pings_do: Programs) -> None:
    """A terminal signals the processes of its own session."""
    sessions = tmp_path / "sessions"
    pings_do(f"cut -d ' ' -f 6 /proc/$$/stat >> {sessions}")
    run_job()
    others = sessions.read_text().split()
    assert len(others) == TIMES_PINGED
    assert str(os.getsid(0)) not in others
