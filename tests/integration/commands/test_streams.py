"""Broken standard streams change no work, nor its exit code. Without its answer a question has failed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engagement.models import ApiToken, EngagementMessage, UserProfile
from tests.database import fail_moves_of
from tests.factories import make_users
from tests.running import PROJECT, database_url

pytestmark = pytest.mark.usefixtures("committed")

RUN = f"{sys.executable} manage.py run_engagement_daily"


def run_in_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": database_url(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("form", ["", "--json"], ids=["table", "json"])
@pytest.mark.parametrize(
    ("stdout", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "it is closed"), ("| head -c0", "Broken pipe")],
    ids=["full", "closed", "nobody reads"],
)
def test_stdout_that_cannot_be_written_is_one_sentence_and_the_work_is_done(
    form: str, stdout: str, reason: str
) -> None:
    make_users(2, "silent")
    outcome = run_in_shell(f"{RUN} {form} {stdout}", LOG_LEVEL="WARNING")
    assert outcome.returncode == 0, outcome.stderr
    # The reader may close the pipe before or after the result is written.
    if reason != "Broken pipe":
        assert outcome.stderr == (
            f"run_engagement_daily: the result could not be written to stdout: {reason}.\n"
        )
    assert "Traceback" not in outcome.stderr
    assert EngagementMessage.objects.count() == 2


def test_stdout_that_cannot_be_written_keeps_the_exit_code() -> None:
    users = make_users(2, "silent")
    fail_moves_of(users[0])
    assert run_in_shell(f"{RUN} >/dev/full").returncode == 3


@pytest.mark.parametrize(
    "command",
    [
        "forecast_engagement",
        "explain_engagement USER --json",
        "preview_message engagement.reply.help",
        "receive_message USER oi",
        "run_engagement_daily --dry-run",
        "purge_engagement_history --older-than 365d",
    ],
)
def test_a_command_whose_answer_is_lost_has_failed(command: str) -> None:
    (user,) = make_users(1)
    command = command.replace("USER", str(user.user_id))
    outcome = run_in_shell(f"{sys.executable} manage.py {command} >/dev/full")
    assert outcome.returncode == 1
    assert "the result could not be written to stdout: No space left on device." in outcome.stderr


def test_no_message_is_processed_whose_answer_nobody_reads() -> None:
    ana, ben = make_users(2)
    lines = "".join(f'{{"user_id": "{user.user_id}", "text": "sair"}}\\n' for user in (ana, ben))
    outcome = run_in_shell(
        f"printf '{lines}' | {sys.executable} manage.py receive_message --json-lines >/dev/full"
    )
    assert outcome.returncode == 1
    assert "Line 1 is the last one that was processed." in outcome.stderr
    opted_out = UserProfile.objects.filter(reengagement_opt_out=True).values_list("user_id", flat=True)
    assert list(opted_out) == [ana.user_id]


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_job_works_without_stderr(streams: str) -> None:
    make_users(2, "silent")
    assert run_in_shell(f"{RUN} {streams}").returncode == 0
    assert EngagementMessage.objects.count() == 2


def test_table_is_written_in_ascii_if_stdout_is_ascii() -> None:
    make_users(2, "silent")
    outcome = run_in_shell(RUN, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert outcome.returncode == 0, outcome.stderr
    assert "inactivity_14d" in outcome.stdout
    assert outcome.stdout.isascii()


@pytest.mark.parametrize("stdout", [">/dev/full", ">&-"], ids=["full", "closed"])
def test_token_that_cannot_be_printed_is_revoked(stdout: str) -> None:
    outcome = run_in_shell(f"{sys.executable} manage.py api_token create assistant send {stdout}")
    assert outcome.returncode == 1
    assert "Nobody has seen the token, so it was revoked." in outcome.stderr
    assert ApiToken.objects.get().revoked_at
