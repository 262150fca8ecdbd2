"""The systemd units: valid, sandboxed, and correct about exit codes."""

from __future__ import annotations

import shutil
import subprocess
from datetime import time, timedelta
from typing import TYPE_CHECKING, Final

import pytest

from engagement.conf import SEND_TIMEOUT, WHOLE_NUMBERS
from engagement.schedule import DEFAULT_RUN_TIME
from tests.project.deploy.sample_files import DEPLOY, NOT_RETRIED, PROJECT_FOLDER, is_too_old_for, sample
from tests.project.docs.command_lines import parse
from tests.project.docs.markdown import code_blocks, prose, section

if TYPE_CHECKING:
    from pathlib import Path

UNITS: Final = sorted(path.name for path in DEPLOY.iterdir() if path.suffix in {".service", ".timer"})
SERVICES: Final = [name for name in UNITS if name.endswith(".service")]
EXPOSURE_IN_PERCENT: Final = 15
"""The highest rating allowed by `systemd-analyze security`; without the sandbox it is 96."""

needs_systemd: Final = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is missing (on Debian: apt install systemd)",
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with the units, with the paths of this machine."""
    for name in UNITS:
        (tmp_path / name).write_text(sample(name))
    return tmp_path


def analyze(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def directives(name: str) -> list[tuple[str, str]]:
    lines = (line.partition("=") for line in sample(name).splitlines() if line and line[0] not in "#[")
    return [(key, value) for key, _, value in lines]


def exit_codes(name: str, key: str) -> set[int]:
    (value,) = (value for directive, value in directives(name) if directive == key)
    return {int(code) for code in value.split()}


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_unit_is_valid(units: Path, name: str) -> None:
    assert analyze(units, "verify", "--man=no", f"./{name}") == (0, "")


@needs_systemd
def test_mistake_in_a_unit_would_be_found(units: Path) -> None:
    unit = units / "engagement-daily.service"
    unit.write_text(unit.read_text().replace("RestartSec=", "RestartSeconds="))
    _, complaint = analyze(units, "verify", "--man=no", f"./{unit.name}")
    assert "RestartSeconds" in complaint


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_service_is_sandboxed(units: Path, name: str) -> None:
    code, table = analyze(
        units, "security", "--offline=true", f"--threshold={EXPOSURE_IN_PERCENT}", f"./{name}"
    )
    assert code == 0, table
    assert f"below {EXPOSURE_IN_PERCENT / 10} of 10" in prose((DEPLOY.parent / "operating.md").read_text())


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "engagement-web.service"])
def test_command_of_a_service_can_be_parsed(name: str) -> None:
    (command,) = (value for key, value in directives(name) if key == "ExecStart")
    _, _, line = command.partition("manage.py ")
    parse(line)


def test_run_starts_when_the_schedule_says() -> None:
    assert ("OnCalendar", f"*-*-* {DEFAULT_RUN_TIME:%H:%M:%S} UTC") in directives("engagement-daily.timer")


def test_missed_run_is_started_later() -> None:
    assert ("Persistent", "true") in directives("engagement-daily.timer")


def test_check_is_late_enough_for_the_run_of_yesterday_to_be_too_old() -> None:
    daily = dict(directives("engagement-daily.service"))
    pause = timedelta(minutes=int(daily["RestartSec"].removesuffix("min")))
    retries = int(daily["StartLimitBurst"]) - 1
    _, check_at, _ = dict(directives("engagement-check.timer"))["OnCalendar"].split()
    assert is_too_old_for(time.fromisoformat(check_at), late_by=retries * pause)


def test_sending_is_checked_every_quarter_of_an_hour() -> None:
    assert ("OnCalendar", "*:0/15") in directives("engagement-check-sending.timer")
    assert "every quarter of an hour" in section(DEPLOY.parent / "delivery.md", "Monitoring")


def test_service_retries_only_what_a_retry_can_change() -> None:
    name = "engagement-daily.service"
    fine = exit_codes(name, "SuccessExitStatus")
    assert fine == {3, 143}
    assert exit_codes(name, "RestartPreventExitStatus") | (fine - {143}) == NOT_RETRIED


def test_services_have_the_same_sandbox() -> None:
    daily = set(directives("engagement-daily.service"))
    differing = {key for name in SERVICES for key, _ in daily ^ set(directives(name))}
    assert differing <= {
        *("Description", "Documentation", "ExecStart", "KillMode", "Restart", "RestartPreventExitStatus"),
        *("RestartSec", "StartLimitBurst", "StartLimitIntervalSec", "SuccessExitStatus", "TimeoutStartSec"),
        *("EnvironmentFile", "TimeoutStopSec", "Type", "WantedBy", "StateDirectory"),
    }


@pytest.mark.parametrize(
    ("name", "own"), [("send", "sender.env"), ("check-sending", "sender.env"), ("web", "web.env")]
)
def test_sender_and_web_server_may_have_a_database_user_of_their_own(name: str, own: str) -> None:
    files = [value for key, value in directives(f"engagement-{name}.service") if key == "EnvironmentFile"]
    # The last file wins; a minus sign allows it to be missing.
    assert [file.rpartition("/")[2] for file in files] == ["engagement.env", own]
    assert files[-1].startswith("-")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "engagement-web.service"])
def test_programs_that_write_metrics_have_a_folder_for_them(name: str) -> None:
    assert ("StateDirectory", "engagement") in directives(name)
    assert "ENGAGEMENT_METRICS_FILE=/var/lib/engagement/" in section(
        DEPLOY.parent / "operating.md", "Metrics"
    )


def test_limited_first_runs_are_not_repeated_after_a_failure() -> None:
    blocks = code_blocks(section(DEPLOY.parent / "operating.md", "First run"))
    (drop_in,) = (block for block in blocks if "[Service]" in block)
    assert drop_in.count("manage.py run_engagement_daily") == 2
    assert "Restart=no" in drop_in.splitlines()


def test_sender_is_always_there_and_ends_between_two_messages() -> None:
    sender = dict(directives("engagement-send.service"))
    assert "--watch" in sender["ExecStart"].split()
    assert sender["Restart"] == "always"
    assert int(sender["TimeoutStopSec"].removesuffix("s")) > 2 * WHOLE_NUMBERS[SEND_TIMEOUT].default


def test_units_use_the_folder_of_the_guide() -> None:
    guide = DEPLOY.parent / "operating.md"
    assert PROJECT_FOLDER in section(guide, "Install")
    schedules = section(guide, "Schedule") + section(DEPLOY.parent / "delivery.md", "Run the sender")
    schedules += section(guide, "Web server")
    assert all(name in schedules for name in UNITS)
