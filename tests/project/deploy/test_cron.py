"""The crontab: each line is parsed, and run by the shell that cron uses."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from engagement.models import EngagementMessage, MessageType
from engagement.selectors.deliveries import database_now
from tests.factories import make_user, queue_for
from tests.project.deploy.sample_files import CRON_SCHEDULE, DEPLOY, is_too_old_for, sample
from tests.project.docs.markdown import REFERENCE, named_in, section
from tests.running import database_url
from tests.times import HOUR

if TYPE_CHECKING:
    from pathlib import Path

FIELD: Final = r"[\d*,/-]+"
ENTRY: Final = re.compile(rf"({FIELD}(?: {FIELD}){{4}})\s+(\w+)\s+(.+)")
VARIABLE: Final = re.compile(r"(\w+)=(.*)")


class Entry(NamedTuple):
    """A line of a system crontab."""

    schedule: str
    account: str
    command: str


def entries(text: str) -> list[Entry]:
    """All lines except comments and variables."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [ENTRY.fullmatch(line) for line in lines if not VARIABLE.fullmatch(line)]
    assert all(found)
    return [Entry(*match.groups()) for match in found if match]


@pytest.fixture
def commands(tmp_path: Path) -> list[str]:
    """The command of each line, with the paths of this machine."""
    environment = tmp_path / "engagement.env"
    settings = {"DEBUG": "off", "SECRET_KEY": "for this test; it's secret", "DATABASE_URL": database_url()}
    environment.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))
    here = {
        "/etc/engagement/engagement.env": str(environment),
        "/etc/engagement/sender.env": str(tmp_path / "sender.env"),
        "/var/log/engagement": str(tmp_path),
        ".venv/bin/python": "$PYTHON",
    }
    return [entry.command for entry in entries(sample("engagement.cron", here=here))]


@pytest.fixture
def daily(commands: list[str]) -> str:
    """The command of the daily run."""
    return commands[0]


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as cron does, with a minimal environment."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_lines_are_entries_of_a_system_crontab() -> None:
    text = (DEPLOY / "engagement.cron").read_text()
    assert [(entry.schedule, entry.account) for entry in entries(text)] == [
        (CRON_SCHEDULE, "engagement"),
        ("0 9 * * *", "engagement"),
        ("*/15 * * * *", "engagement"),
    ]
    assert "CRON_TZ=UTC" in text.splitlines()
    # cron replaces % by a newline.
    assert not any("%" in entry.command for entry in entries(text))


def test_check_is_late_enough_for_the_run_of_yesterday_to_be_too_old() -> None:
    check = entries((DEPLOY / "engagement.cron").read_text())[1]
    minute, hour, *_ = check.schedule.split()
    assert is_too_old_for(time(int(hour), int(minute)))


@pytest.mark.django_db(transaction=True)
def test_good_run_prints_nothing_and_keeps_its_result(daily: str, tmp_path: Path) -> None:
    make_user(last_activity_at="2020-01-01T00:00:00Z")
    done = run(daily)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (result,) = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert '"succeeded": 1' in result
    assert "engagement_job_completed" in (tmp_path / "log.jsonl").read_text()
    assert EngagementMessage.objects.count() == 1


@pytest.mark.django_db
def test_bad_run_prints_its_exit_code(daily: str, tmp_path: Path) -> None:
    (tmp_path / "engagement.env").write_text("DEBUG=off\nSECRET_KEY=x\nDATABASE_URL=\n")
    done = run(daily)
    assert done.stdout.startswith("The engagement run ended with exit code 1; ")
    assert "DATABASE_URL is not set" in (tmp_path / "log.jsonl").read_text()


@pytest.mark.django_db
def test_run_that_cannot_start_blames_no_run(daily: str) -> None:
    done = run(daily.replace("cd /", "cd /missing/", 1))
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "/missing/" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_check_of_the_sending_prints_what_is_wrong(commands: list[str]) -> None:
    check = commands[2]
    done = run(check)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    queue_for(make_user(), MessageType.WELCOME, scheduled_for=database_now() - HOUR)
    done = run(check)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("check_sending: The oldest due message is ")


@pytest.mark.django_db
def test_check_of_the_sending_has_the_database_user_of_the_sender(
    commands: list[str], tmp_path: Path
) -> None:
    (tmp_path / "sender.env").write_text("DATABASE_URL=\n")
    assert "DATABASE_URL is not set" in run(commands[2]).stderr


def test_variables_of_the_environment_file_are_settings_and_readable_by_the_shell() -> None:
    path = DEPLOY / "engagement.env"
    lines = [line.removeprefix("#") for line in path.read_text().splitlines()]
    written = {match[1]: shlex.split(match[2])[0] for line in lines if (match := VARIABLE.fullmatch(line))}
    assert set(written) <= named_in(section(REFERENCE, "Settings"), first_column="variable")
    # Behind nginx.conf the web server needs both.
    assert {"ALLOWED_HOSTS", "BEHIND_TLS_PROXY"} <= set(written)
    # docker and kubectl take quotes literally.
    assert not any({"'", '"'} & set(line.partition("=")[2]) for line in lines if VARIABLE.fullmatch(line))
    shell = run(f"set -a && . {path} && env").stdout.splitlines()
    read = {name: value for name, _, value in (line.partition("=") for line in shell)}
    active = {line.partition("=")[0] for line in path.read_text().splitlines() if VARIABLE.fullmatch(line)}
    assert {name: read[name] for name in active} == {name: written[name] for name in active}
