"""The scripts of docs/sql that make database users can be repeated, and the users can write metrics."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import pytest
from django.test import override_settings

from engagement.models import MessageStatus, MessageType
from tests.acceptance.deliveries import queue_goodbyes
from tests.acceptance.roles import role_of
from tests.factories import make_user, queue_for
from tests.running import PROJECT, connected_to, run_main

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

SCRIPTS: Final = PROJECT / "docs" / "sql"
ROLES: Final = ("engagement_job", "engagement_assistant", "engagement_sender", "engagement_operator")
COMMANDS: Final = (
    ("engagement_job", "run_engagement_daily"),
    ("engagement_job", "check_engagement_runs"),
    ("engagement_sender", "send_messages"),
    ("engagement_sender", "check_sending"),
)


def run_script(owner: psycopg.Connection, name: str) -> None:
    """Run it with names of this test, since roles belong to the whole server."""
    text = re.sub(rf"\b({'|'.join(ROLES)})\b", rf"\1_test_{os.getpid()}", (SCRIPTS / name).read_text())
    owner.execute(text.encode())


@pytest.mark.parametrize("role", ROLES)
def test_script_of_a_role_can_be_run_again(onlooker: psycopg.Connection, role: str) -> None:
    with role_of(onlooker, role):
        run_script(onlooker, f"{role.removeprefix('engagement_')}_role.sql")


POLICIES: Final = "SELECT * FROM pg_policies ORDER BY tablename, policyname"


def test_policies_can_be_made_again(onlooker: psycopg.Connection) -> None:
    job, assistant, sender, _ = ROLES
    with role_of(onlooker, job), role_of(onlooker, assistant), role_of(onlooker, sender):
        run_script(onlooker, "row_level_security.sql")
        before = onlooker.execute(POLICIES).fetchall()
        run_script(onlooker, "row_level_security.sql")
        assert onlooker.execute(POLICIES).fetchall() == before != []


@pytest.mark.parametrize(("role", "command"), COMMANDS)
def test_role_writes_the_metrics(
    onlooker: psycopg.Connection, tmp_path: Path, role: str, command: str
) -> None:
    queue_goodbyes(2)
    queue_for(make_user(), MessageType.WELCOME, status=MessageStatus.FAILED)
    path = tmp_path / "engagement.prom"
    settings = {
        "ENGAGEMENT_METRICS_FILE": str(path),
        "ENGAGEMENT_MESSAGE_BACKEND": "engagement.message_backends.console.ConsoleBackend",
    }
    with role_of(onlooker, role) as url, override_settings(**settings), connected_to(url):
        outcome = run_main(command)
    assert "engagement_metrics_not_written" not in outcome.err
    assert path.exists(), outcome
